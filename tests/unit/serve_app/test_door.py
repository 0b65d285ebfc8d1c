from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.types import Message, Receive, Scope, Send

from serve_app.access_log import AccessLog
from serve_app.call import Call, Operation, Reply
from serve_app.door import Door
from serve_app.errors import InvalidFieldError
from serve_app.keys import Keys, create
from serve_app.settings import ServeSettings

VISA = "4111111111111111"
OPERATIONS = {"score": "score", "labels": "labels"}

Handle = Callable[[Call], Awaitable[Reply]]


class Answer:
    """What a caller gets."""

    def __init__(self, sent: list[Message]) -> None:
        self.is_there = bool(sent)
        if sent:
            self.status: int = sent[0]["status"]
            self.headers = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
            self.body = b"".join(message["body"] for message in sent[1:])

    def header(self, name: str) -> str | None:
        values = [value for known, value in self.headers if known == name]
        assert len(values) <= 1, f"{name} is there twice"
        return values[0] if values else None

    @property
    def code(self) -> str:
        assert self.header("content-length") == str(len(self.body))
        return str(orjson.loads(self.body)["error"]["code"])


class Counted:
    def __init__(self) -> None:
        self.codes: list[str] = []

    def refused(self, code: str) -> None:
        self.codes.append(code)


async def echo(call: Call) -> Reply:
    return Reply(call.body or b"{}")


async def rest(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"x-seen", b",".join(name for name, _ in scope["headers"])), (b"cache-control", b"public")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def make_door(handle: Handle = echo, *, keys: Keys | None = None, app: Any = rest, **changes: Any) -> Door:
    operations = [
        Operation("/v1/score", "score", 100, handle),
        Operation("/v1/labels", "labels", 100, handle),
    ]
    return Door(operations, app, keys=keys, settings=ServeSettings.model_validate(changes))


async def ask(
    door: Any,
    path: str = "/v1/score",
    method: str = "POST",
    *,
    headers: dict[str, str] | None = None,
    chunks: tuple[bytes, ...] = (b'{"a":1}',),
    query: bytes = b"",
    receive: Receive | None = None,
) -> Answer:
    sent: list[Message] = []
    parts = [*chunks]

    async def next_chunk() -> Message:
        if not parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": pairs,
    }
    await door(scope, receive or next_chunk, send)
    return Answer(sent)


def call(door: Any, *arguments: Any, **options: Any) -> Answer:
    return asyncio.run(ask(door, *arguments, **options))


def test_a_handler_gets_the_body_and_answers() -> None:
    answer = call(make_door(), chunks=(b'{"a"', b":", b"1}"))
    assert (answer.status, answer.body) == (200, b'{"a":1}')
    assert answer.header("content-type") == "application/json"
    assert answer.header("content-length") == "7"


@pytest.mark.parametrize("path", ["/v1/score", "/healthz", "/absent"])
def test_every_answer_has_the_security_headers(path: str) -> None:
    answer = call(make_door(), path, headers={"x-request-id": "abc"})
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("cache-control") == "no-store"
    assert answer.header("x-request-id") == "abc"
    assert answer.header("server") is None


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\r\nset-cookie: b", "é", VISA, f"a-{VISA}"])
def test_a_request_id_that_cannot_go_into_a_log_is_replaced(given: str) -> None:
    fresh = call(make_door(), headers={"x-request-id": given}).header("x-request-id")
    assert fresh is not None
    assert fresh != given
    assert len(fresh) == 32
    assert call(make_door(), headers={"x-request-id": "Ab.9_-"}).header("x-request-id") == "Ab.9_-"


def test_what_serve_would_obey_does_not_pass() -> None:
    headers = {"x-request-timeout-seconds": "0", "x_session-id": "1", "serve-multiplexed-model-id": "2"}
    answer = call(
        make_door(), "/docs", headers={**headers, "x-request-disconnect-disabled": "?1", "accept": "*"}
    )
    assert answer.header("x-seen") == "accept"


def test_long_headers_are_refused() -> None:
    answer = call(make_door(), headers={"cookie": "a" * 8192})
    assert (answer.status, answer.code, answer.header("connection")) == (431, "headers_too_large", "close")
    assert call(make_door(), headers={"cookie": "a" * 8000}).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "IDENTITY"])
def test_a_compressed_body_is_refused(encoding: str) -> None:
    answer = call(make_door(), headers={"content-encoding": encoding})
    assert (answer.status, answer.code) == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    ("headers", "chunks"),
    [
        ({"content-length": "101"}, ()),
        ({"content-length": "9" * 30}, ()),
        ({}, (b"a" * 101,)),
        ({}, (b"a" * 60, b"a" * 60)),
        ({"content-length": "5"}, (b"a" * 101,)),
    ],
)
def test_a_long_body_is_refused_however_it_comes(headers: dict[str, str], chunks: tuple[bytes, ...]) -> None:
    answer = call(make_door(), headers=headers, chunks=chunks)
    assert (answer.status, answer.code, answer.header("connection")) == (413, "body_too_large", "close")


def test_no_more_of_a_long_body_is_read_than_its_limit() -> None:
    read = 0

    async def endless() -> Message:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"a" * 10, "more_body": True}

    assert call(make_door(), receive=endless).status == 413
    assert read == 11


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    door = make_door(body_timeout_s=0.05)
    answer = call(door, receive=_stalling([b"{"]))
    assert (answer.status, answer.code, answer.header("connection")) == (408, "body_timeout", "close")
    assert door.in_flight == 0


def _stalling(parts: list[bytes]) -> Receive:
    async def receive() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(0), "more_body": True}
        return await asyncio.Event().wait()  # type: ignore[return-value]

    return receive


def test_a_caller_that_hangs_up_before_the_body_is_there_gets_nothing() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    door = make_door()
    assert not call(door, receive=gone).is_there
    assert door.in_flight == 0


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/score", f"card={VISA}".encode()),
        ("/v1/score", b"card=4111+1111%201111-1111"),
        ("/absent", f"card={VISA}".encode()),
        (f"/v1/decisions/{VISA}", b""),
        (f"/{VISA}", b""),
    ],
)
def test_a_card_number_in_the_address_is_refused(path: str, query: bytes) -> None:
    answer = call(make_door(), path, "GET", query=query)
    assert (answer.status, answer.code) == (422, "card_number")
    assert b"1111" not in answer.body


def test_a_card_number_in_a_header_is_refused() -> None:
    answer = call(make_door(), headers={"x-note": f"card {VISA}", "x-request-id": "abc"})
    assert (answer.status, answer.code) == (422, "card_number")
    assert VISA not in str(answer.headers)
    assert len(answer.header("x-request-id") or "") == 32


def test_random_digits_of_traces_and_keys_are_no_card_numbers() -> None:
    headers = {"authorization": f"Bearer {VISA}", "x-api-key": VISA, "x-datadog-trace-id": VISA}
    assert call(make_door(), headers=headers).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
def test_an_operation_is_posted_to(method: str) -> None:
    answer = call(make_door(), method=method)
    assert (answer.status, answer.code, answer.header("allow")) == (405, "method_not_allowed", "POST")


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    now = datetime.now(UTC)
    scopes: tuple[Any, ...] = ("score", "labels", "admin")
    return {scope: create(tmp_path / "keys", "shop", [scope], now=now)[0] for scope in scopes}


ALLOWED = {
    "/v1/score": {"score"},
    "/v1/labels": {"labels"},
    "/v1/decisions/tx-1": {"score", "admin"},
    "/v1/decisions/tx-1/explanation": {"score", "admin"},
    "/v1/models": {"score", "labels", "admin"},
}


@pytest.mark.parametrize("path", ALLOWED)
def test_no_key_and_a_wrong_key_get_the_same_answer(
    path: str, tmp_path: Path, tokens: dict[str, str]
) -> None:
    door = make_door(keys=Keys(tmp_path / "keys"))
    wrong: list[dict[str, str]] = [
        {},
        {"x-api-key": "fk_00000000_x"},
        {"authorization": f"Bearer {tokens['admin']}x"},
        {"authorization": f"Basic {tokens['admin']}"},
        {"authorization": tokens["admin"]},
        {"authorization": "Bearer"},
    ]
    answers = [call(door, path, headers=headers) for headers in wrong]
    assert {(answer.status, answer.header("www-authenticate")) for answer in answers} == {(401, "Bearer")}
    assert len({answer.body for answer in answers}) == 1


@pytest.mark.parametrize("path", ALLOWED)
def test_a_key_does_what_its_scopes_say(path: str, tmp_path: Path, tokens: dict[str, str]) -> None:
    door = make_door(keys=Keys(tmp_path / "keys"))
    for scope, token in tokens.items():
        for headers in ({"x-api-key": token}, {"authorization": f"bearer {token}"}):
            assert call(door, path, headers=headers).status == (200 if scope in ALLOWED[path] else 403)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json", "/absent"])
def test_health_and_documentation_are_open(path: str, tmp_path: Path, tokens: dict[str, str]) -> None:
    assert call(make_door(keys=Keys(tmp_path / "keys")), path, "GET").body == path.encode()


def test_the_handler_learns_who_calls_and_by_when(tmp_path: Path, tokens: dict[str, str]) -> None:
    calls: list[Call] = []

    async def keep(call: Call) -> Reply:
        calls.append(call)
        return Reply(b"{}")

    async def both() -> float:
        door = make_door(keep, keys=Keys(tmp_path / "keys"), deadline_s=1.0)
        now = asyncio.get_running_loop().time()  # the same clock as time.monotonic
        for asked in ("200", "999999"):
            await ask(
                door, headers={"x-api-key": tokens["score"], "x-deadline-ms": asked, "x-request-id": "r"}
            )
        return now

    now = asyncio.run(both())
    assert {(call.caller, call.request_id) for call in calls} == {(tokens["score"].split("_")[1], "r")}
    assert calls[0].deadline - now == pytest.approx(0.2, abs=0.15)
    assert calls[1].deadline - now == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("asked", ["", "soon", "-1", "1.5", "1e9", "9999999", "٣"])
def test_an_impossible_deadline_is_refused(asked: str) -> None:
    headers = {"x-deadline-ms": asked.encode().decode("latin-1")}
    assert call(make_door(), headers=headers).status == 422


def test_a_key_over_its_rate_waits() -> None:
    async def three() -> list[Answer]:
        door = make_door(rate_per_key_per_s=2)
        return [await ask(door) for _ in range(3)]

    answers = asyncio.run(three())
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert (answers[2].code, answers[2].header("retry-after")) == ("rate_limited", "1")


def test_too_much_work_is_refused_before_the_body_is_read() -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def wait(call: Call) -> Reply:
            await release.wait()
            return Reply(b"{}")

        door = make_door(wait, max_in_flight=3)
        tasks = [asyncio.create_task(ask(door)) for _ in range(2)]
        tasks.append(asyncio.create_task(ask(door, receive=_stalling([]))))
        await asyncio.sleep(0.01)
        assert door.in_flight == 3
        refused = await ask(door, receive=_stalling([]))
        assert (refused.status, refused.code, refused.header("retry-after")) == (429, "overloaded", "1")
        assert (await ask(door, "/readyz", "GET")).status == 200
        release.set()
        tasks.pop().cancel()
        assert [answer.status for answer in await asyncio.gather(*tasks)] == [200, 200]
        await asyncio.sleep(0.01)
        assert door.in_flight == 0
        assert (await ask(door)).status == 200

    asyncio.run(scenario())


def test_a_caller_that_hangs_up_does_not_stop_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        steps: list[str] = []
        release = asyncio.Event()

        async def slow(call: Call) -> Reply:
            steps.append("started")
            await release.wait()
            steps.append("finished")
            raise InvalidFieldError("nobody hears of it")

        door = make_door(slow)
        caller = asyncio.create_task(ask(door))
        await asyncio.sleep(0.01)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert door.in_flight == 1
        release.set()
        await asyncio.sleep(0.01)
        assert steps == ["started", "finished"]
        assert door.in_flight == 0

    asyncio.run(scenario())
    gc.collect()  # asyncio logs an error that nobody took when its task goes
    assert caplog.text == ""


def test_a_handler_that_hangs_is_answered_for() -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def hang(call: Call) -> Reply:
            await release.wait()
            return Reply(b"{}")

        door = make_door(hang, request_timeout_s=0.05)
        answer = await ask(door)
        assert (answer.status, answer.code, answer.header("retry-after")) == (503, "not_ready", "1")
        assert door.in_flight == 1
        release.set()
        await asyncio.sleep(0.01)
        assert door.in_flight == 0

    asyncio.run(scenario())


def test_errors_have_one_shape_and_are_counted() -> None:
    async def refuse(call: Call) -> Reply:
        raise InvalidFieldError("amount_minor is a whole number", "amount_minor")

    counted = Counted()
    door = Door(
        [Operation("/v1/score", "score", 100, refuse)],
        rest,
        keys=None,
        settings=ServeSettings(),
        refusals=counted,
    )
    assert orjson.loads(call(door).body) == {
        "error": {
            "code": "invalid_field",
            "message": "amount_minor is a whole number",
            "field": "amount_minor",
        }
    }
    call(door, method="GET")
    assert counted.codes == ["invalid_field", "method_not_allowed"]


def test_what_must_not_happen_is_logged_without_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(call: Call) -> Reply:
        raise KeyError(call.body.decode())

    with caplog.at_level(logging.ERROR):
        answer = call(make_door(fail), headers={"x-request-id": "r-1"}, chunks=(b'"secret"',))
    assert (answer.status, answer.code) == (500, "internal")
    (record,) = caplog.records
    assert (record.request_id, record.error) == ("r-1", "KeyError")  # type: ignore[attr-defined]
    assert "in fail" in str(record.__dict__["at"]) or " fail" in str(record.__dict__["at"])
    assert "secret" not in str(record.__dict__)


@pytest.mark.parametrize("after_the_answer", [True, False])
def test_a_failing_application_is_answered_for_once(after_the_answer: bool) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        if after_the_answer:
            await send({"type": "http.response.start", "status": 500})
            await send({"type": "http.response.body", "body": b"sorry"})
        raise ValueError("secret")

    answer = call(make_door(app=fail), "/docs", "GET")
    assert answer.status == 500
    assert b"secret" not in answer.body


def test_the_lifespan_is_the_applications_and_sockets_are_closed() -> None:
    scopes: list[str] = []
    sent: list[Message] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope["type"])

    async def send(message: Message) -> None:
        sent.append(message)

    async def both() -> None:
        for kind in ("lifespan", "websocket"):
            await make_door(app=note)({"type": kind}, _stalling([]), send)

    asyncio.run(both())
    assert scopes == ["lifespan"]
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("path", "body", "operation", "code"),
    [
        ("/v1/score", b"x" * 101, "/v1/score", "body_too_large"),
        (f"/v1/decisions/{VISA}", b"", "", "card_number"),
    ],
)
def test_refusals_are_logged_without_what_was_sent(
    caplog: pytest.LogCaptureFixture, path: str, body: bytes, operation: str, code: str
) -> None:
    caplog.set_level(logging.INFO, logger="serve_app.access_log")
    door = Door(
        [Operation("/v1/score", "score", 100, echo)],
        rest,
        keys=None,
        settings=ServeSettings(),
        log=AccessLog(0.25),
    )
    answer = asyncio.run(ask(door, path, chunks=(body,), headers={"x-request-id": "r-7"}))
    (record,) = caplog.records
    facts = vars(record)
    assert (facts["request_id"], facts["operation"], facts["code"]) == ("r-7", operation, code)
    assert facts["status"] == answer.status
    assert VISA not in str(facts)


def test_the_log_names_the_key_that_is_over_its_rate(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, logger="serve_app.access_log")
    token, key = create(tmp_path / "keys.yaml", "shop", ["score"], now=datetime(2026, 1, 1, tzinfo=UTC))
    door = Door(
        [Operation("/v1/score", "score", 100, echo)],
        rest,
        keys=Keys(tmp_path / "keys.yaml"),
        settings=ServeSettings(rate_per_key_per_s=0.001),
        log=AccessLog(0.25),
    )
    for _ in range(2):
        asyncio.run(ask(door, headers={"x-api-key": token}))
    assert vars(caplog.records[-1])["caller"] == key.id
    assert token not in str([vars(record) for record in caplog.records])
