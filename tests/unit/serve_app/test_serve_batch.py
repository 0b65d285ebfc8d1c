from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from factories_serve import FEATURE_SET, journalled, make_places, running_client, transaction

from serve_app.places import Places
from serve_app.replica import Replica


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return make_places(tmp_path)


def several(n: int) -> list[dict[str, Any]]:
    return [
        transaction(
            transaction_id=f"tx-{at}", amount_minor=1 + 700 * at, event_time=f"2026-02-01T12:{at:02}:00Z"
        )
        for at in range(n)
    ]


async def post(client: httpx.AsyncClient, transactions: list[Any]) -> list[dict[str, Any]]:
    answer = await client.post("/v1/score/batch", json={"transactions": transactions})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["answers"]
    return found


def without_times(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in answer.items() if name != "decided_at"} for answer in answers]


def test_batch_answers_what_single_requests_would(tmp_path: Path) -> None:
    async def at_once(client: httpx.AsyncClient) -> list[dict[str, Any]]:
        return await post(client, several(30))

    async def singly(client: httpx.AsyncClient) -> list[dict[str, Any]]:
        return [(await client.post("/v1/score", json=each)).json() for each in several(30)]

    async def whole(name: str, work: Any) -> list[dict[str, Any]]:
        async with running_client(make_places(tmp_path / name)) as (client, _):
            return without_times(await work(client))

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    batch, single = asyncio.run(whole("a", at_once)), asyncio.run(whole("b", singly))
    assert batch == single
    assert {answer["decision"] for answer in batch} > {"approve"}


def test_batch_refuses_rows_one_by_one(places: Places) -> None:
    async def scenario() -> None:
        async with running_client(places) as (client, _):
            good, refund, damaged = transaction(), transaction(kind="refund"), {"transaction_id": 3}
            other = transaction(amount_minor=1)
            answers = await post(client, [good, refund, damaged, "text", other, good])
            codes = [answer.get("error", {}).get("code") for answer in answers]
            assert codes == [None, "not_scored", "invalid_field", "invalid_field", "conflict", None]
            assert answers[5] == answers[0]

    asyncio.run(scenario())
    assert {record["answer"]["transaction_id"] for record in journalled(places)} == {"tx-1"}


@pytest.mark.parametrize("transactions", [[], "x", None, [{}] * 11])
def test_batch_of_another_size_is_refused(places: Places, transactions: Any) -> None:
    async def scenario() -> None:
        async with running_client(places, max_batch_rows=10) as (client, _):
            answer = await client.post("/v1/score/batch", json={"transactions": transactions})
            assert (answer.status_code, answer.json()["error"]["field"]) == (422, "transactions")

    asyncio.run(scenario())


def test_event_enters_windows_and_gets_no_decision(places: Places) -> None:
    async def scenario() -> None:
        async with running_client(places) as (client, _):
            event = transaction(transaction_id="event", event_time="2026-02-01T11:00:00Z")
            for known in (False, True):
                answer = await client.post("/v1/events", json=event)
                assert answer.status_code == 202
                assert answer.json() == {"transaction_id": "event", "accepted": True, "known": known}
            assert (await client.post("/v1/events", json={**event, "amount_minor": 1})).status_code == 409
            assert (await client.post("/v1/score", json=transaction())).status_code == 200
            assert (await client.get("/v1/decisions/event")).status_code == 404

    asyncio.run(scenario())
    *events, decision = journalled(places)
    assert [record["record"] for record in events] == ["event", "event"]
    assert decision["features"][FEATURE_SET.names.index("card_id_count_1d")] == 2.0


def test_event_may_be_scored_afterwards(places: Places) -> None:
    async def scenario() -> None:
        async with running_client(places) as (client, _):
            await client.post("/v1/events", json=transaction())
            assert (await client.post("/v1/score", json=transaction())).json()["degraded"] is False

    asyncio.run(scenario())


def test_refund_is_an_event_and_is_not_scored(places: Places) -> None:
    async def scenario() -> None:
        async with running_client(places) as (client, _):
            refund = transaction(kind="refund")
            refused = await client.post("/v1/score", json=refund)
            assert refused.json()["error"]["code"] == "not_scored"
            assert (await client.post("/v1/events", json=refund)).status_code == 202

    asyncio.run(scenario())


def test_batch_body_has_a_limit_of_its_own(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        body = orjson.dumps({"transactions": several(50)})
        assert len(body) > 2_000
        assert (await client.post("/v1/score/batch", content=body)).status_code == 200
        assert (await client.post("/v1/score", content=body)).status_code == 413

    async def whole() -> None:
        async with running_client(places, max_body_bytes=2_000) as (client, replica):
            await scenario(client, replica)

    asyncio.run(whole())
