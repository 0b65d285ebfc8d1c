from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from ray.serve._private import http_util
from starlette.types import Message, Receive, Scope, Send

from cluster.environment import DEFAULTS
from serve_app import serve_headers
from serve_app.serve_headers import middlewares

HOSTILE = [
    (b"x-request-timeout-seconds", b"0"),
    (b"x-request-disconnect-disabled", b"?1"),
    (b"serve_multiplexed_model_id", b"other"),
    (b"serve-multiplexed-model-id", b"other"),
    (b"x-session-id", b"sticky"),
    (b"x_session_id", b"sticky"),
]


def through_serve(method: str, headers: list[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], list[bytes]]:
    """What Serve's own code sees and answers behind its middlewares and ours, as its servers stack them."""
    seen: dict[bytes, bytes] = {}
    sent: list[Message] = []

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope["headers"])
        answered = [(b"x-request-id", seen[b"x-request-id"])]
        await send({"type": "http.response.start", "status": 200, "headers": answered})

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    app = http_util._apply_middlewares(serve, middlewares())
    asyncio.run(app({"type": "http", "method": method, "path": "/", "headers": headers}, receive, send))
    return seen, [value for name, value in sent[0]["headers"] if name == b"x-request-id"]


def test_a_caller_cannot_switch_serves_timeout_off() -> None:
    seen, _ = through_serve("GET", HOSTILE)
    assert http_util.parse_request_timeout_header(seen, 5.0) == 5.0
    assert not http_util.parse_disconnect_disabled_header(seen)
    assert http_util.parse_session_id_header(seen) == ""
    assert list(seen) == [b"x-request-id"]


def test_an_operation_is_left_to_the_doors_deadlines() -> None:
    seen, _ = through_serve("POST", [(b"x-request-timeout-seconds", b"3600")])
    assert http_util.parse_request_timeout_header(seen, 5.0) is None
    assert http_util.parse_disconnect_disabled_header(seen)


@pytest.mark.parametrize("given", [b"abc", b"a" * 129, b"4111111111111111", b""])
def test_one_usable_request_id_goes_in_and_out(given: bytes) -> None:
    seen, answered = through_serve("POST", [(b"x-request-id", given)])
    assert answered == [seen[b"x-request-id"]]
    assert (answered[0] == given) == (given == b"abc")


def test_serve_loads_them_where_the_variable_says() -> None:
    path = DEFAULTS["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"]
    assert http_util.call_function_from_import_path(path)[0].cls.__name__ == "ServeHeaders"


class Full:
    """A gate that lets nobody in."""

    is_full = True

    async def turn_away(self, _: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": 429, "headers": [(b"x-request-id", b"own")]})


@pytest.fixture
def full_gate() -> Iterator[None]:
    serve_headers.stand_before(Full())
    yield
    serve_headers._gates.clear()


@pytest.mark.usefixtures("full_gate")
def test_what_is_posted_while_the_gate_is_full_costs_serve_nothing() -> None:
    seen, answered = through_serve("POST", [])
    assert (seen, answered) == ({}, [b"own"])


@pytest.mark.usefixtures("full_gate")
def test_what_is_asked_while_the_gate_is_full_goes_on() -> None:
    seen, _ = through_serve("GET", [])
    assert seen
