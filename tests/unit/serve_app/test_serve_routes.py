from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from factories_serve import (
    CATALOGUE,
    FEATURE_SET,
    FEATURES,
    journalled,
    make_places,
    make_served,
    point,
    running_client,
    transaction,
)

from fraud.errors import BundleError, ConfigError
from fraud.features import spec
from fraud.features.spec import FeatureSet
from fraud.model import policy as policies
from fraud.model.bundle import load
from serve_app.places import Places
from serve_app.replica import Replica
from serve_app.served import Watcher

Scenario = Callable[[httpx.AsyncClient, Replica], Awaitable[None]]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return make_places(tmp_path)


def run(places: Places, scenario: Scenario, **changes: Any) -> None:
    async def whole() -> None:
        async with running_client(places, **changes) as (client, replica):
            await scenario(client, replica)

    asyncio.run(whole())


async def score(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    return await client.post("/v1/score", json=transaction(**changes))


def test_answer_says_what_was_decided_and_by_what(places: Places) -> None:
    usual = load(places.pointer.parent / "bundle-1").reference["amount"].median
    assert 9_000 < usual < 11_000  # drawn evenly up to 20 000

    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        low, high = await score(client), await score(client, transaction_id="tx-2", amount_minor=19_000)
        assert list(low.json()) == [
            "transaction_id",
            "score",
            "probability",
            "decision",
            "reasons",
            "degraded",
            "model",
            "policy_version",
            "features_version",
            "decided_at",
        ]
        assert (low.json()["decision"], low.json()["reasons"]) == ("approve", [])
        assert high.json()["decision"] == "decline"
        assert high.json()["reasons"][0] == {
            "code": "AMOUNT",
            "analyst": f"amount: 190.00 EUR, usually {usual / 100:.2f} EUR",
            "customer": "Unusual amount",
        }
        assert low.json()["model"] == {
            "name": "fraud",
            "version": "1",
            "digest": load(places.pointer.parent / "bundle-1").digest,
        }
        assert low.json()["policy_version"] == "p1"
        assert low.json()["features_version"] == FEATURE_SET.version

    run(places, scenario)


def test_score_equals_the_batch_score_of_the_journalled_features(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        for n in range(60):
            changes: dict[str, Any] = {"transaction_id": f"tx-{n}", "amount_minor": n * 331}
            await score(client, **changes, event_time=f"2026-02-01T12:{n:02}:00Z")

    run(places, scenario)
    records = journalled(places)
    assert len(records) == 60
    features = np.array([record["features"] for record in records], np.float64)
    bundle = load(places.pointer.parent / "bundle-1")
    batch = bundle.scores(features.astype(np.float32))
    np.testing.assert_array_equal([record["answer"]["score"] for record in records], batch)
    count = FEATURE_SET.names.index("card_id_count_1d")
    assert features[:, count].tolist() == list(range(1, 61))


def test_reasons_are_those_of_the_batch_over_the_journalled_features(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        for n in range(40):
            changes = {"transaction_id": f"tx-{n}", "amount_minor": 9_000 + n * 250}
            await score(client, **changes, event_time=f"2026-02-01T12:{n:02}:00Z")

    run(places, scenario)
    records = journalled(places)
    bundle = load(places.pointer.parent / "bundle-1")
    matrix = np.array([record["features"] for record in records], np.float64).astype(np.float32)
    batch = [[cause.code for cause in causes] for causes in bundle.explainer.causes(matrix, most=3)]
    asked = [record["answer"]["decision"] != "approve" for record in records]
    assert 5 < sum(asked) < len(asked)
    for record, codes, is_asked in zip(records, batch, asked, strict=True):
        told = [reason["code"] for reason in record["answer"]["reasons"]]
        assert told == (codes if is_asked else [])


def test_customer_is_told_in_the_language_of_the_settings(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        reason = (await score(client, amount_minor=19_000)).json()["reasons"][0]
        assert (reason["code"], reason["customer"]) == ("AMOUNT", "Ungewöhnlicher Betrag")

    run(places, scenario, language="de")


def test_missing_attribute_is_not_zero(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        assert (await score(client, attributes=None)).status_code == 200

    run(places, scenario)
    assert journalled(places)[0]["features"][1:3] == [None, None]


def test_same_request_gets_the_same_bytes(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        first = await score(client)
        again = await client.post("/v1/score", content=orjson.dumps(transaction(kind="purchase")))
        assert again.content == first.content

    run(places, scenario)
    assert len({record["answer"]["decided_at"] for record in journalled(places)}) == 1


def test_same_request_gets_the_same_bytes_after_a_restart(places: Places) -> None:
    answers: list[bytes] = []

    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        answers.append((await score(client)).content)

    run(places, scenario)
    run(places, scenario)
    assert answers[0] == answers[1]


def test_same_request_at_once_is_decided_once(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        answers = await asyncio.gather(*(score(client) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1

    run(places, scenario)


def test_other_body_under_a_known_id_is_a_conflict(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        await score(client)
        other = await score(client, amount_minor=1)
        assert other.status_code == 409
        assert other.json()["error"]["code"] == "conflict"
        assert (await score(client)).status_code == 200

    run(places, scenario)


def test_amount_is_converted_into_the_base_currency(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        await score(client, currency="USD", amount_minor=1001)
        assert (await score(client, transaction_id="tx-2", currency="JPY")).json()["error"] == {
            "code": "no_rate",
            "message": "there is no exchange rate for this currency on this day",
            "field": "currency",
        }

    run(places, scenario)
    assert journalled(places)[0]["features"][0] == 500.0  # 1001 x 0.5, half to even


def test_label_reaches_later_features_and_the_journal(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        await score(client)
        label = {"transaction_id": "tx-1", "is_fraud": True, "label_time": "2026-02-02T00:00:00Z"}
        answer = await client.post("/v1/labels", json=label)
        assert answer.status_code == 202
        assert answer.json() == {"transaction_id": "tx-1", "accepted": True, "known": True}
        await score(client, transaction_id="tx-2", event_time="2026-02-04T12:00:00Z")
        unknown = await client.post("/v1/labels", json={"transaction_id": "nobody", "is_fraud": False})
        assert unknown.json()["known"] is False

    run(places, scenario)
    records = journalled(places)
    assert [record["record"] for record in records] == ["decision", "label", "decision", "label"]
    assert records[1]["label_time"] == "2026-02-02T00:00:00.000000Z"
    frauds = FEATURE_SET.names.index("terminal_id_fraud_mean_7d_delay_1d")
    assert (records[0]["features"][frauds], records[2]["features"][frauds]) == (0.0, 1.0)


def test_errors_have_one_shape_and_repeat_no_value(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        secret = "4111111111111111"
        for path, content in [
            ("/v1/score", f'{{"transaction_id":"{secret}"}}'),
            ("/v1/score", f'{{"{secret}":1}}'),
            ("/v1/score", f'{{"currency":{secret}'),
            ("/v1/labels", f'{{"transaction_id":"{secret}","is_fraud":true}}'),
        ]:
            answer = await client.post(path, content=content)
            assert answer.status_code == 422
            assert set(answer.json()["error"]) == {"code", "message", "field"}
            assert secret not in answer.text
        for answer in (await client.get("/v1/score"), await client.get("/nowhere")):
            assert set(answer.json()["error"]) == {"code", "message", "field"}

    run(places, scenario)
    assert journalled(places) == []


def test_long_or_compressed_body_is_refused(places: Places) -> None:
    async def drip() -> Any:
        for _ in range(1000):
            yield b" " * 1000

    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        assert (await client.post("/v1/score", content=b" " * 16_385)).status_code == 413
        assert (await client.post("/v1/score", content=drip())).json()["error"]["code"] == "body_too_large"
        packed = await client.post("/v1/score", content=b"x", headers={"content-encoding": "gzip"})
        assert packed.status_code == 415

    run(places, scenario)


def test_no_answer_leaves_that_is_not_on_disk(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        def full_disk(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", full_disk)
            refused = await score(client)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert (await score(client)).status_code == 200

    run(places, scenario)
    assert [record["answer"]["transaction_id"] for record in journalled(places)] == ["tx-1"]


def test_caller_that_hangs_up_leaves_a_whole_journal(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        calls = [asyncio.create_task(score(client, transaction_id=f"tx-{n}")) for n in range(30)]
        await asyncio.sleep(0.02)
        for call in calls[::2]:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        answers = await asyncio.gather(*(score(client, transaction_id=f"tx-{n}") for n in range(30)))
        assert {answer.status_code for answer in answers} == {200}

    run(places, scenario)
    assert {record["answer"]["transaction_id"] for record in journalled(places)} == {
        f"tx-{n}" for n in range(30)
    }


def test_journal_holds_what_executes_the_decision_again(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        # A review would save something at 190.00 EUR; 190.00 USD are 95.00 EUR, where it saves nothing.
        attributes = {"channel": "shop", "not_in_the_model": 3}
        await score(client, currency="USD", amount_minor=19_000, attributes=attributes)

    run(places, scenario)
    (record,) = journalled(places)
    assert record["request"]["attributes"] == {"channel": "shop", "not_in_the_model": 3}
    assert len(record["features"]) == len(FEATURE_SET.names)
    assert (record["request"]["amount_minor"], record["amount_base_minor"]) == (19_000, 9_500)
    answer, policy = record["answer"], policies.from_json(record["policy"], path="journal")
    again = policy.decide(np.array([answer["probability"]]), np.array([record["amount_base_minor"]]))
    assert again == [answer["decision"]]
    assert record["latency_us"] > 0


def test_new_model_serves_without_a_restart(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        before = await score(client)
        make_served(places.pointer.parent, "2", seed=1)
        for _ in range(100):
            models = (await client.get("/v1/models")).json()["models"]
            if models[0]["version"] == "2":
                break
            await asyncio.sleep(0.02)
        after = await score(client, transaction_id="tx-2")
        assert after.json()["model"]["version"] == "2"
        assert after.json()["model"]["digest"] != before.json()["model"]["digest"]
        assert (await score(client)).content == before.content

    run(places, scenario, pointer_poll_s=0.02)


def test_damaged_model_never_serves(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, replica: Replica) -> None:
        folder = places.pointer.parent
        watcher = Watcher(places.pointer, 1, accept_any)
        first = watcher.served
        make_served(folder, "2", seed=1)
        booster = folder / "bundle-2" / "booster.json"
        booster.write_bytes(booster.read_bytes().replace(b"1", b"2", 1))
        await watcher.look()
        assert watcher.served is first
        point(folder, "1", first.bundle.digest)
        await watcher.look()
        assert watcher.served.version == "1"

    run(places, scenario)


def accept_any(_: FeatureSet) -> None:
    """There is no state to ask."""


def with_spans(spans: str) -> FeatureSet:
    return spec.load_text(FEATURES.replace("spans: [1d]", f"spans: [{spans}]"), "other.yaml")


def test_model_of_features_that_the_state_keeps_serves_at_once(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, replica: Replica) -> None:
        before = (await score(client)).json()
        make_served(places.pointer.parent, "2", feature_set=with_spans("12h"))
        await replica.scorer._watcher.look()
        after = (await score(client, transaction_id="tx-2")).json()
        assert after["model"]["version"] == "2"
        assert after["features_version"] != before["features_version"]

    run(places, scenario)


def test_model_of_features_that_the_state_lacks_never_serves(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, replica: Replica) -> None:
        make_served(places.pointer.parent, "2", feature_set=with_spans("2d"))
        await replica.scorer._watcher.look()
        assert (await score(client)).json()["model"]["version"] == "1"

    run(places, scenario)


def test_service_without_a_model_says_what_to_do(places: Places) -> None:
    places.pointer.unlink()
    with pytest.raises(ConfigError, match="promote one first"):
        Watcher(places.pointer, 1, accept_any)


def test_pointer_to_another_digest_is_refused(places: Places) -> None:
    point(places.pointer.parent, "1", "0" * 64)
    with pytest.raises(BundleError, match="registry"):
        Watcher(places.pointer, 1, accept_any)


def test_attribute_of_another_type_that_only_the_state_keeps_is_missing(tmp_path: Path) -> None:
    wider = (
        FEATURES
        + """
  - window: card_id
    of: risk
    stats: [sum]
    spans: [1d]
  - window: card_id
    of: device
    stats: [distinct]
    spans: [1d]
"""
    )
    places = make_places(tmp_path, kept=spec.load_text(wider, "wider.yaml"))

    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        odd = {"channel": "web", "risk": "high", "device": 7}
        assert (await score(client, attributes=odd)).status_code == 200
        assert (await score(client, transaction_id="tx-2", attributes={"risk": 1})).status_code == 200

    run(places, scenario)


def test_status_routes_answer(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, replica: Replica) -> None:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        ready = (await client.get("/readyz")).json()
        assert (ready["status"], ready["state_as_of"]) == ("ready", "2026-01-01T00:00:00+00:00")
        assert ready["replicas"] == 1
        (model,) = (await client.get("/v1/models")).json()["models"]
        assert (model["policy_version"], model["role"]) == ("p1", "champion")
        replica.probe()

    run(places, scenario)


def test_openapi_describes_bodies_answers_and_errors(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        described = (await client.get("/openapi.json")).json()
        paths = {"/v1/score": "200", "/v1/score/batch": "200", "/v1/events": "202", "/v1/labels": "202"}
        for path, success in paths.items():
            post = described["paths"][path]["post"]
            body = post["requestBody"]["content"]["application/json"]
            assert set(body["schema"]["required"]) <= set(body["example"])
            assert {success, "422", "413", "429", "503"} <= set(post["responses"])
            assert "ErrorAnswer" in str(post["responses"]["422"])
            assert (await client.post(path, json=body["example"])).status_code == int(success)
        (example,) = described["components"]["schemas"]["Decision"]["examples"]
        for reason in example["reasons"]:
            assert reason["customer"] == CATALOGUE.sentence(reason["code"])

    run(places, scenario, entities=("card_id", "terminal_id"))
