"""Answers where the state cannot be asked, or cannot answer exactly."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from factories_policy import make_policy
from factories_serve import FEATURE_SET, journalled, make_places, running_client, transaction

from fraud.features.layout import Layout
from fraud.model.fallback import Band
from fraud.model.policy import canonical
from fraud.storage import state
from serve_app.places import Places

HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A service whose policy approves below 50.00 without a score, and may review twice a day."""
    bands = (Band(5_000, "approve", "approve"), Band(None, "review", "decline"))
    places = make_places(tmp_path)
    policy = make_policy("p1", fallback=bands, reviews_per_day=2)
    (tmp_path / "policy-1.json").write_bytes(canonical(policy.to_json()))
    return places


@contextmanager
def busy(places: Places) -> Iterator[None]:
    """Another process writes to the state all the time."""
    command = [sys.executable, "-c", HOLDER, str(places.state / "data.mdb")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        process.communicate()


async def score(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/score", json=transaction(**changes))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def until_stored(client: httpx.AsyncClient, transaction_id: str) -> dict[str, Any]:
    for _ in range(200):
        answer = await client.get(f"/v1/decisions/{transaction_id}")
        if answer.status_code == 200:
            found: dict[str, Any] = answer.json()["answer"]
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(transaction_id)


def test_busy_state_is_answered_by_the_fallback_within_the_deadline(places: Places) -> None:
    async def scenario() -> None:
        async with running_client(places, deadline_s=0.1) as (client, _):
            with busy(places):
                begun = asyncio.get_running_loop().time()
                small = await score(client, amount_minor=4_999)
                large = await score(client, transaction_id="tx-2", amount_minor=5_000)
                assert asyncio.get_running_loop().time() - begun < 1
            assert (small["decision"], large["decision"]) == ("approve", "review")
            for answer in (small, large):
                assert (answer["degraded"], answer["score"], answer["reasons"]) == (True, None, [])

    asyncio.run(scenario())
    assert [record["degraded"] for record in journalled(places)] == ["state_busy"] * 2
    assert journalled(places)[0]["features"] is None


def test_answers_without_a_score_are_logged_and_counted(
    places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> dict[Any, float]:
        async with running_client(places, deadline_s=0.1) as (client, replica):
            with busy(places):
                body = {"transactions": [transaction(), transaction(transaction_id="tx-2")]}
                await client.post("/v1/score/batch", json=body, headers={"x-request-id": "r-1"})
            return replica.telemetry.totals()

    totals = asyncio.run(scenario())
    assert totals["fraud_decisions", "approve", "state_busy"] == 2
    (record,) = [record for record in caplog.records if record.message == "request degraded"]
    facts = {name: vars(record)[name] for name in ("request_id", "cause", "transactions")}
    assert facts == {"request_id": "r-1", "cause": "state_busy", "transactions": 2}


def test_degraded_answer_is_the_answer_once_the_state_can_be_asked(places: Places) -> None:
    async def scenario() -> None:
        async with running_client(places, deadline_s=0.1) as (client, _):
            with busy(places):
                first = await score(client)
            assert await until_stored(client, "tx-1") == first
            assert await score(client) == first
            later = await score(client, transaction_id="tx-2")
            assert later["degraded"] is False

    asyncio.run(scenario())
    last = journalled(places)[-1]
    assert last["features"][FEATURE_SET.names.index("card_id_count_1d")] == 2.0


def test_stored_answer_is_given_while_the_state_is_busy(places: Places) -> None:
    async def scenario() -> None:
        async with running_client(places, deadline_s=0.05) as (client, _):
            first = await score(client)
            with busy(places):
                assert await score(client) == first
                other = await client.post("/v1/score", json=transaction(amount_minor=1))
                assert other.status_code == 409

    asyncio.run(scenario())
    assert {record["degraded"] for record in journalled(places)} == {None}


def test_degraded_answer_is_given_again_while_the_state_is_busy(places: Places) -> None:
    async def scenario() -> None:
        async with running_client(places, deadline_s=0.05) as (client, _):
            with busy(places):
                assert await score(client) == await score(client)

    asyncio.run(scenario())
    assert len({record["answer"]["decided_at"] for record in journalled(places)}) == 1


def test_degraded_reviews_stay_within_the_reviews_of_a_day(places: Places) -> None:
    async def scenario() -> None:
        async with running_client(places, deadline_s=0.05) as (client, _):
            with busy(places):
                decisions = [
                    (await score(client, transaction_id=f"tx-{n}", amount_minor=9_000))["decision"]
                    for n in range(4)
                ]
            assert decisions == ["review", "review", "decline", "decline"]

    asyncio.run(scenario())


def test_transaction_older_than_the_state_is_exact_for_is_answered_by_the_fallback(tmp_path: Path) -> None:
    places = make_places(tmp_path)
    (places.state / "data.mdb").unlink()
    (places.state / "lock.mdb").unlink(missing_ok=True)
    places.state.rmdir()
    state.create(places.state, state.empty(Layout.of([FEATURE_SET]), datetime(2026, 2, 3, tzinfo=UTC)))

    async def scenario() -> None:
        async with running_client(places) as (client, _):
            old = await score(client, event_time="2026-02-01T23:59:59Z")
            assert old["degraded"] is True
            assert await score(client, event_time="2026-02-01T23:59:59Z") == old
            fresh = await score(client, transaction_id="tx-2", event_time="2026-02-02T00:00:00Z")
            assert fresh["degraded"] is False

    asyncio.run(scenario())
    records = journalled(places)
    assert [record["degraded"] for record in records] == ["late", "late", None]
    assert records[2]["features"][FEATURE_SET.names.index("card_id_count_1d")] == 2.0


def test_label_that_cannot_be_recorded_is_not_acknowledged(places: Places) -> None:
    async def scenario() -> None:
        async with running_client(places, deadline_s=0.05) as (client, _):
            with busy(places):
                answer = await client.post("/v1/labels", json={"transaction_id": "tx-1", "is_fraud": True})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
            assert answer.headers["retry-after"] == "1"

    asyncio.run(scenario())
    assert journalled(places) == []


def test_full_disk_is_answered_by_the_fallback_and_not_ready(places: Places) -> None:
    async def scenario() -> None:
        async with running_client(places, disk_reserve_bytes=2**62) as (client, _):
            assert (await score(client))["degraded"] is True
            ready = await client.get("/readyz")
            assert (ready.status_code, list(ready.json()["problems"])) == (503, ["disk"])

    asyncio.run(scenario())
    assert [record["degraded"] for record in journalled(places)] == ["disk_full"]
