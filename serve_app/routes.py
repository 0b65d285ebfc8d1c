"""The HTTP face of a scorer: routes, the limit of a body, and one shape of error."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from serve_app import openapi
from serve_app.errors import BodyTooLargeError, RequestError, UnsupportedEncodingError, error_body
from serve_app.scorer import Scorer
from serve_app.settings import ServeSettings

_JSON = "application/json"

logger = logging.getLogger(__name__)


def api(
    scorer: Scorer, settings: ServeSettings, running: Callable[[], AbstractAsyncContextManager[None]]
) -> FastAPI:
    """Return the application.

    Args:
        scorer: Does the work.
        settings: For the limits and what a body may have.
        running: Entered when the application starts, left when it stops.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with running():
            yield

    app = FastAPI(title="Card fraud scoring", version="1", lifespan=lifespan)
    _add_work(app, scorer, settings)
    _add_status(app, scorer)
    _add_errors(app)
    return app


def _add_work(app: FastAPI, scorer: Scorer, settings: ServeSettings) -> None:
    errors = openapi.responses(409, 413, 415, 422, 503)

    @app.post(
        "/v1/score",
        summary="Decide one transaction",
        response_model=openapi.Decision,
        responses=errors,
        openapi_extra=openapi.score_body(settings),
    )
    async def score(request: Request) -> Response:
        body = await _body(request, settings.max_body_bytes)
        return Response(await scorer.score(body), media_type=_JSON)

    @app.post(
        "/v1/labels",
        summary="Tell what became known about a transaction",
        status_code=HTTPStatus.ACCEPTED,
        response_model=openapi.LabelAnswer,
        responses={status: shape for status, shape in errors.items() if status != HTTPStatus.CONFLICT},
        openapi_extra=openapi.label_body(),
    )
    async def labels(request: Request) -> Response:
        body = await _body(request, settings.max_body_bytes)
        return Response(await scorer.label(body), HTTPStatus.ACCEPTED, media_type=_JSON)


def _add_status(app: FastAPI, scorer: Scorer) -> None:
    @app.get("/healthz", summary="Whether the process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether a model is loaded and the state is open")
    async def readyz() -> dict[str, Any]:
        return scorer.readiness()

    @app.get("/v1/models", summary="Which model serves")
    async def models() -> dict[str, Any]:
        return scorer.models()


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return _error(error.status, error.code, str(error), error.field)

    @app.exception_handler(HTTPException)
    async def unrouted(_: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        return _error(status, status.name.lower(), f"{status.phrase}: see /docs for what there is")

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return _error(HTTPStatus.BAD_REQUEST, "disconnected", "the body did not arrive")

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        # Starlette raises the error again after this answer, and the server logs it.
        return _error(
            HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the service failed: send the request again"
        )


async def _body(request: Request, limit: int) -> bytes:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedEncodingError("send the body uncompressed, without Content-Encoding")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLargeError(f"the body is longer than {limit} bytes")
    return bytes(body)


def _error(status: int, code: str, message: str, field: str | None = None) -> Response:
    headers = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return Response(error_body(code, message, field), status, headers, _JSON)
