"""Whatever is sent: the service does not fail, no error repeats what was sent, no card number stays."""

from __future__ import annotations

import os
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import hypothesis
import numpy as np
import orjson
import schemathesis
from factories_serve import transaction
from schemathesis import GenerationMode
from serve_process import Service, memory_bytes
from serving import check, journalled, most, shipped, zero

from fraud.storage.lake import Lake

SCORE, BATCH, EVENTS, LABELS = "/v1/score", "/v1/score/batch", "/v1/events", "/v1/labels"
_FEW = 40
_TOO_LONG = 413
_ECHOED = 8
"""Texts shorter than this may be in a message by chance."""


@dataclass
class Answers:
    """What was answered to many requests.

    Attributes:
        statuses: How often.
        failures: What was sent where the answer was in the 5xx range, or there was none.
        echoes: Errors that repeat a value of the request.
        slowest_s: Of the answers.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    echoes: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def add(self, response: httpx.Response, sent: str, values: Iterable[str] = ()) -> None:
        """Count an answer; an error must hold none of the values."""
        self.statuses[response.status_code] += 1
        self.slowest_s = max(self.slowest_s, response.elapsed.total_seconds())
        if response.status_code >= 500:
            self.failures.append(f"{response.status_code} to {sent}"[:300])
        said = response.text + str(response.headers)
        if response.status_code >= 400 and any(value in said for value in values):
            self.echoes.append(sent[:300])


def generated(service: Service, *, cases: int, seed: int, headers: Mapping[str, str]) -> None:
    """Send what schemathesis makes of the OpenAPI description, fitting and not."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    described = orjson.dumps(schema.raw_schema).decode()
    posts = [operation for operation in operations if operation.method == "post"]
    gets = [operation for operation in operations if operation.method != "post"]
    answers = Answers()
    with httpx.Client(base_url=service.url, headers=headers) as client:
        for operation in gets:
            _generate(operation, client, answers, cases=_FEW, seed=seed, described=described)
        for operation in posts:
            _generate(operation, client, answers, cases=cases // len(posts), seed=seed, described=described)
    print("schemathesis:", dict(answers.statuses), answers.failures[:3], answers.echoes[:3])
    check(
        "schemathesis",
        answers.statuses.total(),
        {
            "answers in the 5xx range: 0": zero(len(answers.failures)),
            "values echoed: 0": zero(len(answers.echoes)),
            "methods and paths without an answer below 300: 0": zero(int(not answers.statuses[200])),
        },
    )


def _generate(
    operation: Any, client: httpx.Client, answers: Answers, *, cases: int, seed: int, described: str
) -> None:
    for mode in GenerationMode:
        settings = hypothesis.settings(
            max_examples=max(cases // 2, 1),
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )

        @hypothesis.seed(seed)
        @settings
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url=str(client.base_url))
            values = [text for text in _texts(case.body) if text not in described]
            request = _request(client, sent)
            if request is not None:
                answers.add(client.send(request), f"{case.method} {case.path} {sent.get('json')}", values)

        try:
            send()
        except hypothesis.errors.Unsatisfiable:
            continue  # such as a wrong request where nothing can be wrong


def _request(client: httpx.Client, sent: dict[str, Any]) -> httpx.Request | None:
    """The request, None where HTTP cannot express it."""
    names = {"method", "url", "params", "json", "headers", "cookies"}
    given = {name: value for name, value in sent.items() if name in names and value is not None}
    content = sent.get("data")
    if isinstance(content, bytes | str):
        given["content"] = content
    try:
        return client.build_request(**given)
    except (UnicodeEncodeError, ValueError, httpx.InvalidURL, TypeError):
        return None


def _texts(value: Any) -> Iterator[str]:
    """The texts and long numbers of a body, as they would show in a message."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(name)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str | int | float) and len(str(value)) >= _ECHOED:
        yield str(value)


@dataclass(frozen=True)
class Bad:
    """A request that must be refused.

    Attributes:
        what: Is wrong with it.
        body: As sent.
        path: Where to.
        headers: Besides the usual ones.
        statuses: Of the refusal.
    """

    what: str
    body: bytes
    path: str = SCORE
    headers: Mapping[str, str] = field(default_factory=dict)
    statuses: tuple[int, ...] = (422,)


def _with(what: str, path: str = SCORE, **changes: Any) -> Bad:
    return Bad(what, orjson.dumps(transaction(**{"transaction_id": "bad-1", **changes})), path)


def _raw(what: str, old: bytes, new: bytes) -> Bad:
    whole = orjson.dumps(transaction(transaction_id="bad-1", amount_minor=4250))
    assert old in whole
    return Bad(what, whole.replace(old, new))


def bad_requests() -> list[Bad]:
    """Every kind of input that must be refused."""
    fine = orjson.dumps(transaction())
    soon = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
    deep = b'{"a":' * 20 + b"1" + b"}" * 20
    numbers = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"nan"', b'"12.5"', b"true", b"-1", b"12.5"]
    amounts = [*numbers, b"1000000001", b"9" * 400, b"9" * 5000, b"9223372036854775808", b"[]", b"{}"]
    texts = ["a\u0000b", "a\nb", "a\u202eb", "a\u200bb", "", "x" * 129]
    return [
        *(
            _raw(f"amount {value[:20]!r}", b'"amount_minor":4250', b'"amount_minor":' + value)
            for value in amounts
        ),
        *(
            _raw(f"distance {value!r}", b'"distance_km":1.5', b'"distance_km":' + value)
            for value in numbers[:7]
        ),
        *(
            _with(f"id {text[:8]!r}", **{name: text})
            for text in texts
            for name in ("transaction_id", "card_id")
        ),
        *(_with(f"currency {value!r}", currency=value) for value in ("XXXX", "eur", "", 978)),
        *(
            _with(f"time {value!r}", event_time=value)
            for value in ("2026-02-01T12:00:00", "1999-12-31T23:59:59Z", soon, 1769947200, "yesterday", "")
        ),
        _with("a kind that is not scored", kind="refund"),
        _with("an unknown field", colour="red-and-green"),
        _with("attributes that are no object", attributes=[1]),
        *(_with(f"a field named {name}", **{name: "123"}) for name in ("cvv", "pin", "track2", "pan")),
        *(_with(f"an attribute named {name}", attributes={name: "123"}) for name in ("cvv", "pin", "track2")),
        _raw("a repeated name", b'"currency"', b'"amount_minor":1,"currency"'),
        _raw("a lone surrogate", b'"tok-1"', b'"\\ud800"'),
        _raw("bytes that are no UTF-8", b"tok-1", b"tok-\xff"),
        Bad("trailing data", fine + b"x"),
        Bad("a byte order mark", b"\xef\xbb\xbf" + fine),
        Bad("UTF-16", fine.decode().encode("utf-16")),
        Bad("a list", b"[" + fine + b"]"),
        Bad("nothing", b""),
        Bad("half of it", fine[: len(fine) // 2]),
        Bad("deep nesting", deep),
        Bad("very deep nesting", b"[" * 8000),
        Bad("a long body", fine + b" " * 20_000, statuses=(_TOO_LONG,)),
        Bad("a long batch", b" " * 2_000_000, BATCH, statuses=(_TOO_LONG,)),
        Bad(
            "a batch of 501",
            b'{"transactions":[' + b",".join([fine] * 501) + b"]}",
            BATCH,
            statuses=(_TOO_LONG, 422),
        ),
        Bad("a compressed body", fine, headers={"Content-Encoding": "gzip"}, statuses=(415,)),
        Bad("a long header", fine, headers={"X-Long": "a" * 9000}, statuses=(400, 431)),
        Bad("a wrong deadline", fine, headers={"X-Deadline-Ms": "soon"}),
        Bad("a label that is no truth", b'{"transaction_id":"a-label-1","is_fraud":"maybe-later"}', LABELS),
        Bad("another method", fine, "/v1/models", statuses=(405,)),
        Bad("no such path", fine, "/v1/nothing-like-this", statuses=(404, 405)),
    ]


def bad_inputs(service: Service, *, headers: Mapping[str, str]) -> None:
    """Send the whole table of bad inputs, and what is none but looks it."""
    answers, wrong = Answers(), []
    table = bad_requests()
    described = httpx.get(f"{service.url}/openapi.json").text
    described += httpx.get(f"{service.url}/v1/schema", headers=headers).text
    with httpx.Client(base_url=service.url, headers=headers) as client:
        for bad in table:
            values = [text for text in _words(bad.body) if text not in described]
            try:
                response = client.post(bad.path, content=bad.body, headers=bad.headers)
            except httpx.TransportError:
                # Who sends a long body may find the connection closed before the answer is read.
                wrong += [] if _TOO_LONG in bad.statuses else [f"{bad.what}: no answer"]
                continue
            answers.add(response, bad.what, values)
            if response.status_code not in bad.statuses:
                wrong.append(f"{bad.what}: {response.status_code}")
        wrong += _kept_from_serve(client)
    wrong += _unauthorized(service) if headers else []
    grown = _swallowed(service, headers)
    wrong += _slow_body(service, headers)
    print("bad inputs:", dict(answers.statuses), wrong, answers.failures[:3], answers.echoes[:3])
    check(
        "bad inputs",
        len(table),
        {
            "answers in the 5xx range: 0": zero(len(answers.failures)),
            "values echoed: 0": zero(len(answers.echoes)),
            "otherwise answered than documented: 0": zero(len(wrong)),
            "MB that a chunked body of 100 MB takes": most(grown, 5),
        },
    )


def _words(body: bytes) -> list[str]:
    return re.findall(rf"[\w.-]{{{_ECHOED},}}", body[:20_000].decode(errors="replace"))


def _kept_from_serve(client: httpx.Client) -> list[str]:
    """Headers that Ray Serve would obey must change nothing; return what they did."""
    wrong = []
    for name, value in {
        "x-request-timeout-seconds": "0",
        "x-request-disconnect-disabled": "?1",
        "serve_multiplexed_model_id": "other",
        "x-request-id": "r" * 300,
    }.items():
        response = client.post(
            SCORE, json=transaction(transaction_id=f"header-{name}"), headers={name: value}
        )
        if response.status_code != 200 or response.headers["x-request-id"] == value:
            wrong.append(f"{name}: {response.status_code}")
    return wrong


def _unauthorized(service: Service) -> list[str]:
    wrong = []
    for key in ("", "fk_none_none", "Bearer x", "a" * 4000):
        response = httpx.post(service.url + SCORE, json=transaction(), headers={"X-API-Key": key})
        if response.status_code != 401:
            wrong.append(f"key {key[:20]!r}: {response.status_code}")
    return wrong


def _swallowed(service: Service, headers: Mapping[str, str]) -> float:
    """Return how many MB a replica grows by while 100 MB are sent to it in chunks."""
    before = {pid: memory_bytes(pid) for pid in service.replicas()}
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    with _connected(service, headers, "Transfer-Encoding: chunked") as client:
        try:
            for _ in range(1600):
                client.sendall(chunk)
        except OSError:
            pass  # the answer was given, and the connection closed, before all was sent
    return max(memory_bytes(pid) - was for pid, was in before.items()) / 1e6


def _slow_body(service: Service, headers: Mapping[str, str]) -> list[str]:
    """Send a byte a second, and be refused."""
    with _connected(service, headers, "Content-Length: 1000") as client:
        client.settimeout(20)
        began = time.monotonic()
        while time.monotonic() < began + 10:
            try:
                client.sendall(b" ")
                client.settimeout(1)
                status = client.recv(100)[9:12]
            except TimeoutError:
                continue
            except OSError:
                break
            return [] if status == b"408" else [f"a slow body: {status!r}"]
    return ["a slow body: no answer"]


def _connected(service: Service, headers: Mapping[str, str], more: str) -> socket.socket:
    where = urlsplit(service.url)
    client = socket.create_connection((str(where.hostname), where.port or 80))
    lines = [
        f"POST {SCORE} HTTP/1.1",
        f"Host: {where.netloc}",
        *(f"{n}: {v}" for n, v in headers.items()),
        more,
    ]
    client.sendall("\r\n".join([*lines, "", ""]).encode())
    return client


def card_numbers(count: int, seed: int) -> list[str]:
    """Make up numbers of cards: an issuer's beginning, random digits, the check digit."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        beginning = str(rng.choice(["4", "51", "55", "2221", "34", "37", "36", "6011", "3530", "62"]))
        length = 15 if beginning in {"34", "37"} else 14 if beginning == "36" else 16
        digits = beginning + "".join(map(str, rng.integers(0, 10, length - 1 - len(beginning))))
        found.append(digits + _check_digit(digits))
    return found


def _check_digit(digits: str) -> str:
    doubled = [int(digit) * (2 - at % 2) for at, digit in enumerate(reversed(digits))]
    return str(-sum(value - 9 * (value > 9) for value in doubled) % 10)


def _places_for(number: str, name: str) -> Sequence[tuple[str, str, dict[str, Any]]]:
    """Requests that hold a card number, each somewhere else: method, path, what httpx takes."""
    grouped = " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    fields = ("transaction_id", "event_time", "kind", "currency", "card_id", "terminal_id", "colour")
    bodies = [transaction(**{"transaction_id": name, at: number}) for at in fields]
    bodies += [
        transaction(transaction_id=name, amount_minor=int(number)),
        transaction(transaction_id=name, card_id=grouped),
        transaction(transaction_id=name, card_id=f"card {number.replace('', '-').strip('-')}"),
        transaction(transaction_id=name, attributes={"channel": number}),
        transaction(transaction_id=name, attributes={"distance_km": int(number)}),
        transaction(transaction_id=name, attributes={"note": f"paid with {grouped}."}),
        transaction(transaction_id=name, attributes={number: "x"}),
    ]
    label = {"transaction_id": name, "is_fraud": True}
    fine = transaction(transaction_id=name)
    return [
        *(("POST", SCORE, {"json": body}) for body in bodies),
        ("POST", EVENTS, {"json": bodies[4]}),
        ("POST", BATCH, {"json": {"transactions": [fine, bodies[5]]}}),
        ("POST", LABELS, {"json": {**label, "source": number}}),
        ("POST", LABELS, {"json": {**label, "transaction_id": number}}),
        ("GET", f"/v1/decisions/{number}", {}),
        ("GET", f"/v1/decisions/{quote(grouped)}/explanation", {}),
        ("POST", f"{SCORE}?card={number}", {"json": fine}),
        ("POST", SCORE, {"json": fine, "headers": {"x-card": number}}),
        ("POST", SCORE, {"json": fine, "headers": {"x-request-id": number}}),
        ("POST", SCORE, {"json": fine, "headers": {"x-api-key": number}}),
        ("POST", SCORE, {"content": f"{number}".encode()}),
    ]


def cards(service: Service, folder: Path, *, count: int, seed: int, headers: Mapping[str, str]) -> None:
    """Post card numbers wherever there is room for one, then look for them wherever something is kept."""
    numbers = card_numbers(count, seed)
    answers = Answers()
    with httpx.Client(base_url=service.url) as client, ThreadPoolExecutor(8) as threads:

        def send(at: tuple[int, str]) -> None:
            for method, path, given in _places_for(at[1], f"cards-{seed}-{at[0]}"):
                own = {**given, "headers": {**headers, **given.get("headers", {})}}
                answers.add(client.request(method, path, **own), path[:20], [at[1]])

        list(threads.map(send, enumerate(numbers)))
    time.sleep(3)  # logs are written by others
    shipped(folder)
    found = [name for name, content in _kept(service, folder) if held(content, set(numbers))]
    print("card numbers:", dict(answers.statuses), found[:5])
    check(
        "card numbers",
        count,
        {
            "answers in the 5xx range: 0": zero(len(answers.failures)),
            "numbers in answers: 0": zero(len(answers.echoes)),
            "logs, files, tables, metrics that hold one: 0": zero(len(found)),
        },
    )


def _kept(service: Service, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that stays of requests, by name; the lake's tables as text, for its files are compressed."""
    for file in [*service.ray_logs.rglob("*"), *folder.rglob("*")]:
        if file.is_file():
            yield str(file), _written(file)
    page = httpx.get(service.metrics_url, timeout=30).content
    assert b"ray_fraud_" in page
    yield service.metrics_url, page
    lake = Lake(str(folder / "lake"))
    for name in lake.tables():
        yield name, orjson.dumps(lake.read(name).to_pylist(), default=str)


def held(content: bytes, numbers: set[str]) -> set[str]:
    """Return which numbers are in there, also where their digits stand in groups."""
    found = set()
    for match in re.finditer(rb"[0-9](?:[ -]?[0-9]){12,}", content):
        digits = re.sub(rb"[ -]", b"", match.group()).decode()
        found |= {
            digits[at : at + length]
            for length in (14, 15, 16)
            for at in range(len(digits) - length + 1)
            if digits[at : at + length] in numbers
        }
    return found


def _written(file: Path) -> bytes:
    """What was written to a file, without its holes: a state's file is mostly one."""
    with file.open("rb") as opened:
        parts, at, end = [], 0, file.stat().st_size
        while at < end:
            try:
                start = os.lseek(opened.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but a hole
                break
            at = os.lseek(opened.fileno(), start, os.SEEK_HOLE)
            parts.append(os.pread(opened.fileno(), at - start, start))
        return b"\n".join(parts)


def at_once(service: Service, folder: Path, *, times: int, headers: Mapping[str, str]) -> None:
    """Send the same at once, and another body under the same id."""
    body = transaction(transaction_id="at-once")
    with httpx.Client(base_url=service.url, headers=headers) as client, ThreadPoolExecutor(times) as threads:
        told = list(threads.map(lambda _: client.post(SCORE, json=body), range(times)))
        other = client.post(SCORE, json={**body, "amount_minor": 1})
    check(
        "the same request at once",
        times,
        {
            "different answers": (
                len({answer.content for answer in told}),
                len({a.content for a in told}) == 1,
            ),
            "decisions in the journal": (
                len(journalled(folder / "journal")["at-once"]),
                len(journalled(folder / "journal")["at-once"]) == 1,
            ),
            "another body is answered 409": (other.status_code, other.status_code == 409),
        },
    )
