"""The HTTP face: operations on bodies, questions, and their documentation.

The door calls an operation's handler directly; FastAPI has the same operations, for whoever comes without
the door and for the documentation.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serve_app import openapi
from serve_app.call import Call, Operation
from serve_app.docs import docs_routes
from serve_app.errors import RequestError, error_body
from serve_app.inquiries import Inquiries
from serve_app.scorer import Scorer
from serve_app.settings import ServeSettings

_JSON = "application/json"


def operations(scorer: Scorer, settings: ServeSettings) -> tuple[Operation, ...]:
    """Return what can be posted."""
    one, many = settings.max_body_bytes, settings.max_batch_body_bytes
    return (
        Operation("/v1/score", "score", one, scorer.score),
        Operation("/v1/score/batch", "score", many, scorer.score_batch),
        Operation("/v1/events", "score", one, scorer.event),
        Operation("/v1/labels", "labels", one, scorer.label),
    )


def api(
    posts: Sequence[Operation],
    inquiries: Inquiries,
    settings: ServeSettings,
    running: Callable[[], AbstractAsyncContextManager[None]],
) -> FastAPI:
    """Return the application.

    Args:
        posts: What can be posted.
        inquiries: Answers what can be asked.
        settings: For the limits and what a body may have.
        running: Entered when the application starts, left when it stops.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with running():
            yield

    app = FastAPI(title="Card fraud scoring", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    described = openapi.operations(settings)
    for operation in posts:
        route = _route(operation, settings.deadline_s)
        app.add_api_route(operation.path, route, methods=["POST"], **described[operation.path])
    _add_questions(app, inquiries)
    _add_status(app, inquiries)
    _add_errors(app)
    docs_routes(app)
    return app


def _route(operation: Operation, deadline_s: float) -> Callable[[Request], Awaitable[Response]]:
    async def post(request: Request) -> Response:
        deadline = time.monotonic() + deadline_s
        reply = await operation.handle(Call(await request.body(), "", "", deadline))
        return Response(reply.body, reply.status, media_type=_JSON)

    return post


def _add_questions(app: FastAPI, inquiries: Inquiries) -> None:
    # Plain functions run in threads: a bundle that has to be loaded keeps nobody waiting.
    unknown = openapi.responses(404)

    @app.get("/v1/decisions/{transaction_id}", summary="A decision of the last two days", responses=unknown)
    def decision(transaction_id: str) -> dict[str, Any]:
        return inquiries.decision(transaction_id)

    @app.get(
        "/v1/decisions/{transaction_id}/explanation",
        summary="Its reasons, and what each feature added",
        responses=unknown,
    )
    def explanation(transaction_id: str) -> dict[str, Any]:
        return inquiries.explanation(transaction_id)

    @app.get("/v1/models", summary="Which models are at work")
    def models() -> dict[str, Any]:
        return inquiries.models()

    @app.get("/v1/schema", summary="What a request may hold")
    def schema() -> dict[str, Any]:
        return inquiries.schema()


def _add_status(app: FastAPI, inquiries: Inquiries) -> None:
    @app.get("/healthz", summary="Whether the process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether requests should come here", responses=openapi.not_ready())
    def readyz() -> Response:
        is_ready, said = inquiries.readiness()
        return JSONResponse(said, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return _error(error.status, error.code, str(error), error.field)

    @app.exception_handler(HTTPException)
    async def unrouted(_: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        return _error(status, status.name.lower(), f"{status.phrase}: see /docs for what there is")

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        # Starlette raises the error again after this answer, and the server logs it.
        return _error(
            HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the service failed: send the request again"
        )


def _error(status: int, code: str, message: str, field: str | None = None) -> Response:
    headers = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return Response(error_body(code, message, field), status, headers, _JSON)
