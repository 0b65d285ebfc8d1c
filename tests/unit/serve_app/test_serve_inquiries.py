from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import xgboost as xgb
from factories_serve import FEATURE_SET, journalled, make_places, make_served, running_client, transaction

from fraud.model.bundle import load
from serve_app.places import Places
from serve_app.replica import Replica

Scenario = Callable[[httpx.AsyncClient, Replica], Awaitable[None]]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return make_places(tmp_path)


def run(places: Places, scenario: Scenario) -> None:
    async def whole() -> None:
        async with running_client(places) as (client, replica):
            await scenario(client, replica)

    asyncio.run(whole())


def test_decision_can_be_asked_for_with_what_it_was_taken_from(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        answer = (await client.post("/v1/score", json=transaction())).json()
        found = (await client.get("/v1/decisions/tx-1")).json()
        assert found["answer"] == answer
        assert found["request"]["card_id"] == "tok-1"
        assert list(found["features"]) == list(FEATURE_SET.names)
        assert found["features"]["amount"] == 4250.0

    run(places, scenario)


def test_unknown_decision_is_not_found(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        for path in ("/v1/decisions/nobody", "/v1/decisions/nobody/explanation"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_decision")
            assert "nobody" not in answer.text

    run(places, scenario)


def test_explanation_adds_up_to_the_margin_of_the_bundle_that_decided(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, replica: Replica) -> None:
        answer = (await client.post("/v1/score", json=transaction(amount_minor=19_000))).json()
        make_served(places.pointer.parent, "2", seed=1)
        # The registry's copies lie by digest; this one has to be found there once another model serves.
        cache = places.pointer.parent / "bundles" / answer["model"]["digest"]
        cache.parent.mkdir()
        (places.pointer.parent / "bundle-1").rename(cache)
        await replica.look()
        found = (await client.get("/v1/decisions/tx-1/explanation")).json()
        assert found["reasons"] == answer["reasons"] != []
        assert found["model"] == answer["model"]
        added = {each["feature"]: each["contribution"] for each in found["contributions"]}
        assert found["contributions"][0]["code"] == answer["reasons"][0]["code"]
        row = np.array([[np.nan if v is None else v for v in journalled(places)[0]["features"]]], np.float32)
        exact = load(cache).booster.predict(xgb.DMatrix(row), pred_contribs=True)[0]
        np.testing.assert_allclose([added[name] for name in FEATURE_SET.names], exact[:-1], atol=1e-5)

    run(places, scenario)


def test_explanation_without_the_bundle_still_has_the_reasons(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, replica: Replica) -> None:
        answer = (await client.post("/v1/score", json=transaction(amount_minor=19_000))).json()
        make_served(places.pointer.parent, "2", seed=1)
        await replica.look()
        found = (await client.get("/v1/decisions/tx-1/explanation")).json()
        assert (found["reasons"], found["contributions"]) == (answer["reasons"], None)

    run(places, scenario)


def test_schema_says_what_the_model_reads(places: Places) -> None:
    async def scenario(client: httpx.AsyncClient, _: Replica) -> None:
        found = (await client.get("/v1/schema")).json()
        assert found["attributes"] == {"distance_km": "number", "channel": "text"}
        assert found["entities"] == ["card_id", "terminal_id"]

    run(places, scenario)
