"""What comes before Ray Serve: what a caller could tell it by headers is taken out, and overload is refused.

Serve's own server reads some headers before it calls the application: ``x-request-timeout-seconds: 0`` would
switch its timeout off. The one place before that is a middleware that Serve's servers, in replicas and
proxies, load from ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``, which ``cluster.environment`` sets. Where a
cluster was started without that variable a caller can still switch Serve's timeout off for a request of his
own; the deadlines of the door stay.

Of a request that the door would turn away Serve's share is most of the work, so it is turned away here: a
process under overload has that much more time for those that are let in.
"""

from __future__ import annotations

import re
import secrets
from typing import Final, Protocol

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fraud.card_numbers import holds_card_number

REQUEST_ID: Final = b"x-request-id"

_FOR_SERVE: Final = frozenset(
    (
        *(b"x_request_timeout_seconds", b"x_request_disconnect_disabled"),
        *(b"serve_multiplexed_model_id", b"x_session_id"),
    )
)
_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_POSTED: Final = ((b"x-request-disconnect-disabled", b"?1"), (b"x-request-timeout-seconds", b"0"))
"""An operation has the door's deadlines, and is not given up because its caller hung up: without both, Serve
would start three tasks for every request to watch it."""


class Gate(Protocol):
    """Who says whether another request may come in: the door of this process."""

    @property
    def is_full(self) -> bool:
        """Whether nobody else is let in at present."""

    async def turn_away(self, scope: Scope, send: Send) -> None:
        """Refuse a request."""


_gates: Final[list[Gate]] = []
"""Of this process: one in a replica, none in a proxy. Serve makes the middleware, and knows of no door."""


def stand_before(gate: Gate) -> None:
    """Have requests asked for at a gate from now on."""
    _gates[:] = [gate]


def is_for_serve(name: bytes) -> bool:
    """Whether Serve would obey a header of this name, in small letters; it takes dashes for underscores."""
    return name.replace(b"-", b"_") in _FOR_SERVE


def request_id(given: bytes | None) -> bytes:
    """Return the id that a request came with, or a fresh one where it has none that can go into a log."""
    if given is not None and _ID.fullmatch(given) and not holds_card_number(given.decode()):
        return given
    return secrets.token_hex(16).encode()


def middlewares() -> list[Middleware]:
    """What Serve puts before everything else, its own middleware for request ids included."""
    return [Middleware(ServeHeaders)]


class ServeHeaders:
    """Takes out of a request what Serve would obey, and out of an answer the second request id.

    What is posted while the gate is full gets no further.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_posted = scope["method"] == "POST"
        if is_posted and _gates and _gates[0].is_full:
            await _gates[0].turn_away(scope, send)
            return
        given, headers = None, []
        for pair in scope["headers"]:
            if pair[0] == REQUEST_ID:
                given = pair[1]
            elif not is_for_serve(pair[0]):
                headers.append(pair)
        headers.append((REQUEST_ID, request_id(given)))
        if is_posted:
            headers += _POSTED
        scope["headers"] = headers

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = [name for name, _ in message["headers"]]
                if names.count(REQUEST_ID) > 1:  # the door's, and the one Serve appends
                    message["headers"].pop()
            await send(message)

        await self._app(scope, receive, answer)
