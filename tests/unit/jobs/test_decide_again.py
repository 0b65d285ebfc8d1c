"""A decision is executed again from its row: the same comes out, or it is said what does not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from factories_policy import make_policy
from factories_serve import make_places, running_client, transaction

from fraud.jobs.decide_again import differences
from fraud.jobs.ship import run
from fraud.model import bundle
from fraud.model.bundle import Bundle
from fraud.storage.lake import Lake


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Bundle]:
    """The row of a declined transaction, and its bundle."""
    folder = tmp_path_factory.mktemp("decided")
    places = make_places(folder)

    async def post() -> None:
        async with running_client(places) as (client, _):
            await client.post("/v1/score", json=transaction(amount_minor=38_000, currency="USD"))

    asyncio.run(post())
    lake = Lake(str(folder / "lake"))
    run(lake, places.journal)
    (row,) = lake.read("decisions").to_pylist()
    return row, bundle.load(folder / "bundle-1", digest=row["model_digest"])


def test_the_same_comes_out(decided: tuple[dict[str, Any], Bundle]):
    row, model = decided
    assert row["decision"] != "approve"
    assert row["reasons"]
    assert differences(row, model) == {}


@pytest.mark.parametrize(
    ("column", "value"),
    [("probability", 0.5), ("decision", "approve"), ("reasons", []), ("policy_digest", ""), ("score", None)],
)
def test_a_column_that_was_changed_is_named(
    decided: tuple[dict[str, Any], Bundle], column: str, value: object
):
    row, model = decided
    assert column in differences({**row, column: value}, model)


def test_another_feature_gives_another_score(decided: tuple[dict[str, Any], Bundle]):
    row, model = decided
    assert "score" in differences({**row, "features": [100.0, *row["features"][1:]]}, model)


def test_an_answer_that_left_with_something_else_is_named(decided: tuple[dict[str, Any], Bundle]):
    row, model = decided
    answer = {**json.loads(row["answer"]), "score": 0.125}
    assert differences({**row, "answer": json.dumps(answer)}, model) == {
        "answer.score": (0.125, row["score"])
    }


def test_a_fallback_is_what_the_policy_says_of_the_amount(tmp_path: Path, decided):
    row, model = decided
    answer = json.loads(row["answer"])
    unscored = {"score": None, "probability": None, "decision": "review", "reasons": []}
    policy = make_policy("p")
    changed = {
        **row,
        **unscored,
        "features": None,
        "policy": json.dumps(policy.to_json()),
        "policy_digest": policy.digest,
        "policy_version": "p",
        "answer": json.dumps({**answer, **unscored, "policy_version": "p"}),
    }
    assert differences(changed, model) == {}
    assert "decision" in differences({**changed, "decision": "decline"}, model)
