"""``/docs``: a page of our own that shows the OpenAPI description and loads nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

_PAGE: Final = Path(__file__).with_name("docs.html")
_HEADERS: Final = {
    # The page may talk to this service and to nobody else, and no other page may frame it.
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def docs_routes(app: FastAPI) -> None:
    """Add ``/docs`` to an application that was made with ``docs_url=None, redoc_url=None``."""
    page = _PAGE.read_text(encoding="utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers=_HEADERS)
