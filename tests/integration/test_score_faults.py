"""Scoring may die at any point, or run beside itself: every transaction is scored once."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories_train import make_lake
from score_killed import STEPS, bundle_folder, die_at, killed, score_here

from fraud import schema
from fraud.storage.lake import Lake


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_folder(tmp_path_factory.mktemp("bundle"))


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_dies_at_a_step_is_made_good_by_the_next(lake: Lake, made: Path, step: str) -> None:
    ids = make_lake(lake, days=2, per_day=20)
    assert die_at(lake, made, step) == 9
    assert len(lake.parts(schema.SCORES)) == (2 if step == "committed" else 0)
    report = score_here(lake, made)
    assert (report["scored"], report["already_scored"]) == ((0, 40) if step == "committed" else (40, 0))
    assert sorted(lake.read(schema.SCORES).column("transaction_id").to_pylist()) == sorted(ids)


def test_twenty_kills_lose_and_double_nothing(lake: Lake, made: Path) -> None:
    outcome = killed(lake, made, kills=20, seed=2026)
    assert outcome.scores == outcome.transactions >= 21 * 20
    assert (outcome.lost, outcome.doubled, outcome.partial_commits) == (0, 0, 0)
    assert outcome.died["before the commit"] + outcome.died["after the commit"] == 20
