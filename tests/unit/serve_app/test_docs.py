from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI

from serve_app.docs import docs_routes


@pytest.fixture
def page() -> httpx.Response:
    app = FastAPI(docs_url=None, redoc_url=None)
    docs_routes(app)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/docs")

    return asyncio.run(ask())


def test_documentation_loads_nothing_from_elsewhere(page: httpx.Response) -> None:
    assert page.status_code == 200
    assert re.findall(r"(?:https?:)?//[\w.]+", page.text) == []
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_documentation_shows_the_description_of_this_service(page: httpx.Response) -> None:
    assert 'fetch("openapi.json")' in page.text


def test_documentation_writes_text_and_never_markup(page: httpx.Response) -> None:
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write", page.text)
