"""The door of the service: what a request has to pass before a handler sees it.

A request is refused for its headers, its key, its rate or the work in flight before its body is read, and for
its body before it is parsed. The operations are called from here; everything else is the FastAPI
application's, guarded too.

Written for speed: plain ASGI, one pass over the headers, nothing of Starlette.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import traceback
from collections.abc import Sequence
from typing import Final, Protocol, cast
from urllib.parse import unquote_plus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fraud.card_numbers import holds_card_number, suspects
from serve_app.access_log import AccessLog
from serve_app.call import Call, Operation, Reply
from serve_app.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    CardNumberError,
    ForbiddenError,
    HeadersTooLargeError,
    InternalError,
    InvalidFieldError,
    MethodNotAllowedError,
    NotReadyError,
    OverloadedError,
    RateLimitedError,
    RequestError,
    UnauthorizedError,
    UnsupportedEncodingError,
    error_body,
)
from serve_app.keys import Keys
from serve_app.rate import Rate
from serve_app.serve_headers import REQUEST_ID, is_for_serve, request_id
from serve_app.settings import ServeSettings

MAX_HEADER_BYTES: Final = 8192

_READ: Final = frozenset(
    (
        *(b"authorization", b"x-api-key", REQUEST_ID, b"x-deadline-ms"),
        *(b"content-encoding", b"content-length"),
    )
)
_UNCHECKED: Final = frozenset(
    (
        *(b"authorization", b"x-api-key", REQUEST_ID, b"traceparent", b"tracestate", b"b3"),
        *(b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid"),
        *(b"x-datadog-trace-id", b"x-datadog-parent-id", b"x-cloud-trace-context"),
    )
)
"""Not looked through for card numbers: secrets, which nothing keeps, the request's id, which is replaced, and
the random digits of traces, which the service ignores."""

_MILLISECONDS: Final = re.compile(rb"[0-9]{1,6}")

_CALLER: Final = "fraud.caller"
_GUARDED: Final = "/v1/"
_DECISIONS: Final = "/v1/decisions/"
_ALWAYS: Final = (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")
_JSON: Final = ((b"content-type", b"application/json"), *_ALWAYS)
_OURS: Final = frozenset((*(header for header, _ in _ALWAYS), REQUEST_ID))
_CLOSING: Final = (BodyTooLargeError, BodyTimeoutError, HeadersTooLargeError)
"""The rest of such a request is not worth reading."""

logger = logging.getLogger(__name__)


class Refusals(Protocol):
    """What the door tells the telemetry."""

    def refused(self, code: str) -> None:
        """Count a refused request."""


class Door:
    """An ASGI application before another one.

    Args:
        operations: What is answered here, by exact path.
        rest: Gets every other request, and the lifespan.
        keys: Who may call; None lets everyone in.
        settings: The limits.
        refusals: Counts them; None where nobody does.
        log: Gets a line for what was refused or slow; None where there is none.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        rest: ASGIApp,
        *,
        keys: Keys | None,
        settings: ServeSettings,
        refusals: Refusals | None = None,
        log: AccessLog | None = None,
    ) -> None:
        self._operations = {operation.path: operation for operation in operations}
        self._rest = rest
        self._keys = keys
        self._rate = Rate(settings.rate_per_key_per_s)
        self._refusals = refusals
        self._log = log
        self._deadline_s = settings.deadline_s
        self._body_timeout_s = settings.body_timeout_s
        self._patience_s = settings.request_timeout_s
        self._max_in_flight = settings.max_in_flight
        self._entered = 0
        self._running: dict[asyncio.Future[Reply], asyncio.Future[None]] = {}

    @property
    def in_flight(self) -> int:
        """Requests being read, passed on or handled, also where the caller is gone."""
        return self._entered + len(self._running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        arrived = time.monotonic()
        name, refusal = b"", None
        try:
            headers = _headers(scope)
            name = request_id(headers.get(REQUEST_ID))
            reply = await self._reply(scope, receive, send, headers=headers, name=name, arrived=arrived)
            if reply is None:
                return
        except RequestError as error:
            reply, refusal = self._refusal(error), error
        except Exception as error:  # noqa: BLE001 - the one place where what must not happen gets an answer
            _log(error, name)
            refusal = InternalError("the service failed: send the request again")
            reply = self._refusal(refusal)
        self._note(scope, name, reply, arrived, refusal)
        await _send(send, name, reply, refusal)

    @property
    def is_full(self) -> bool:
        """Whether nobody else is let in at present."""
        return self._entered + len(self._running) >= self._max_in_flight

    async def turn_away(self, scope: Scope, send: Send) -> None:
        """Refuse a request because nobody else is let in."""
        error = _overloaded()
        name, reply = request_id(None), self._refusal(error)
        self._note(scope, name, reply, time.monotonic(), error)
        await _send(send, name, reply, error)

    def _note(
        self, scope: Scope, name: bytes, reply: Reply, arrived: float, refusal: RequestError | None
    ) -> None:
        if self._log is None:
            return
        self._log.answered(
            name.decode(),
            scope["path"] if scope["path"] in self._operations else "",
            caller=scope.get(_CALLER, ""),
            status=reply.status,
            seconds=time.monotonic() - arrived,
            code=None if refusal is None else refusal.code,
        )

    async def _reply(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        headers: dict[bytes, bytes],
        name: bytes,
        arrived: float,
    ) -> Reply | None:
        """Return the reply; None where it is sent already or nobody waits for it."""
        path: str = scope["path"]
        operation = self._operations.get(path)
        caller = self._caller(scope, headers, operation, arrived)
        if operation is None:
            _refuse_card_number(path, "the path")
            await self._pass_on(scope, receive, send, name)
            return None
        if scope["method"] != "POST":
            raise MethodNotAllowedError("this path is called by POST")
        deadline = arrived + self._allowed_s(headers.get(b"x-deadline-ms"))
        body = await self._body(receive, headers, operation.max_body_bytes)
        if body is None:
            return None
        return await self._run(operation, Call(body, caller, name.decode(), deadline))

    def _caller(
        self, scope: Scope, headers: dict[bytes, bytes], operation: Operation | None, now: float
    ) -> str:
        """Return the id of the key, empty where none is asked for; the log finds it in the scope."""
        path: str = scope["path"]
        if operation is None and not path.startswith(_GUARDED):
            return ""
        caller_id = ""
        if self._keys is not None:
            caller = self._keys.find(headers.get(b"x-api-key") or _bearer(headers.get(b"authorization", b"")))
            if caller is None:
                raise UnauthorizedError(
                    "send a valid API key as `Authorization: Bearer KEY` or `x-api-key: KEY`"
                )
            scope[_CALLER] = caller_id = caller.id
            if caller.scopes.isdisjoint((operation.scope,) if operation is not None else _readers(path)):
                raise ForbiddenError("the API key has other scopes: ask for one that may do this")
        if not self._rate.admits(caller_id, now):
            raise RateLimitedError("the API key is over its rate: wait as long as Retry-After says")
        if self.is_full:
            raise _overloaded()
        return caller_id

    def _allowed_s(self, milliseconds: bytes | None) -> float:
        if milliseconds is None:
            return self._deadline_s
        if not _MILLISECONDS.fullmatch(milliseconds):
            raise InvalidFieldError("x-deadline-ms is a whole number of milliseconds", "x-deadline-ms")
        return min(self._deadline_s, int(milliseconds) / 1000)

    async def _body(self, receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes | None:
        """Return the body, None where the caller hangs up before it is there."""
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedEncodingError("send the body uncompressed, without Content-Encoding")
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            raise BodyTooLargeError(f"the body is longer than {limit} bytes")
        # Half of what asyncio.timeout costs.
        task, late = cast("asyncio.Task[None]", asyncio.current_task()), asyncio.Event()
        timer = asyncio.get_running_loop().call_later(self._body_timeout_s, _interrupt, task, late)
        self._entered += 1
        try:
            return await _read(receive, limit)
        except asyncio.CancelledError:
            if not late.is_set() or task.uncancel():
                raise
            raise BodyTimeoutError(f"the body did not arrive within {self._body_timeout_s:g} s") from None
        finally:
            timer.cancel()
            self._entered -= 1

    async def _run(self, operation: Operation, call: Call) -> Reply:
        """Run the handler to its end, whatever becomes of the caller."""
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(operation.handle(call))
        # Awaiting the task would cancel it together with this; asyncio.wait would not, at twice the cost.
        over = self._running[task] = loop.create_future()
        task.add_done_callback(self._end)
        timer = loop.call_later(self._patience_s, _wake, over)
        try:
            await over
        finally:
            timer.cancel()
        if not task.done():
            raise NotReadyError("no answer in time: send the same request again")
        return task.result()

    def _end(self, task: asyncio.Future[Reply]) -> None:
        _wake(self._running.pop(task))
        if not task.cancelled():
            task.exception()  # taken: where the caller is gone asyncio would log it, with its text

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, name: bytes) -> None:
        is_started = False

        async def answer(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                kept = [pair for pair in message.get("headers", ()) if pair[0] not in _OURS]
                message["headers"] = [*kept, *_ALWAYS, (REQUEST_ID, name)]
            await send(message)

        headers = [pair for pair in scope["headers"] if not is_for_serve(pair[0])]
        self._entered += 1
        try:
            await self._rest({**scope, "headers": headers}, receive, answer)
        except Exception as error:
            if not is_started:
                raise
            _log(error, name)  # FastAPI raises it once more after its answer
        finally:
            self._entered -= 1

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._rest(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, error: RequestError) -> Reply:
        if self._refusals is not None:
            self._refusals.refused(error.code)
        return Reply(error_body(error.code, error.message, error.field), error.status)


async def _send(send: Send, name: bytes, reply: Reply, refusal: RequestError | None) -> None:
    length = (b"content-length", b"%d" % len(reply.body))
    more = () if refusal is None else _extra(refusal)
    start = [*_JSON, length, (REQUEST_ID, name or request_id(None)), *more]
    await send({"type": "http.response.start", "status": reply.status, "headers": start})
    await send({"type": "http.response.body", "body": reply.body})


def _overloaded() -> OverloadedError:
    return OverloadedError("too many requests are in work: wait as long as Retry-After says")


def _extra(error: RequestError) -> list[tuple[bytes, bytes]]:
    """Return the headers that an error has besides those of every answer."""
    if error.retry_after_s is not None:
        return [(b"retry-after", b"%d" % error.retry_after_s)]
    if isinstance(error, _CLOSING):
        return [(b"connection", b"close")]
    if isinstance(error, UnauthorizedError):
        return [(b"www-authenticate", b"Bearer")]
    if isinstance(error, MethodNotAllowedError):
        return [(b"allow", b"POST")]
    return []


def _readers(path: str) -> tuple[str, ...]:
    """Return the scopes that may read a path."""
    return ("score", "admin") if path.startswith(_DECISIONS) else ("score", "labels", "admin")


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Return those headers that the door reads, once all are looked at."""
    size, seen, is_suspect = 0, {}, False
    for name, value in scope["headers"]:
        size += len(name) + len(value) + 4  # a colon, a space and the end of the line
        if name in _READ:
            seen[name] = value
        if len(value) > 12 and name not in _UNCHECKED and suspects(value):
            is_suspect = True
    if size > MAX_HEADER_BYTES:
        raise HeadersTooLargeError(f"the headers are longer than {MAX_HEADER_BYTES} bytes")
    if is_suspect or scope["query_string"]:
        _refuse_card_numbers(scope)
    return seen


def _refuse_card_numbers(scope: Scope) -> None:
    _refuse_card_number(unquote_plus(scope["query_string"].decode("latin-1")), "the query")
    for name, value in scope["headers"]:
        if name not in _UNCHECKED:
            _refuse_card_number(value.decode("latin-1"), "a header")


def _refuse_card_number(text: str, where: str) -> None:
    if holds_card_number(text):
        raise CardNumberError(
            f"{where} holds what looks like a card number: send a token of the card instead"
        )


def _bearer(authorization: bytes) -> bytes:
    kind, _, token = authorization.partition(b" ")
    return token.strip() if kind.lower() == b"bearer" else b""


def _wake(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


def _interrupt(task: asyncio.Task[None], late: asyncio.Event) -> None:
    late.set()
    task.cancel()


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Return the body, None where the caller hangs up before it is there."""
    message = await receive()
    body = message.get("body", b"")
    if message.get("more_body", False) and message["type"] == "http.request":
        body = bytearray(body)
        while message.get("more_body", False) and len(body) <= limit:
            message = await receive()
            body += message.get("body", b"")
    if message["type"] != "http.request":
        return None
    if len(body) > limit:
        raise BodyTooLargeError(f"the body is longer than {limit} bytes")
    return bytes(body)


def _log(error: Exception, name: bytes) -> None:
    """Log where it happened; the error's own text may repeat what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    logger.error(
        "request failed",
        extra={
            "request_id": name.decode(),
            "error": type(error).__name__,
            "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]],
        },
    )
