"""Whole jobs that are killed: the drills of ten, once each, on the Ray of all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_killed import check, ingest_killed, score_killed

pytestmark = pytest.mark.ray


def test_a_killed_ingest_loses_and_doubles_nothing(ray_cluster: str, tmp_path: Path) -> None:
    outcome = ingest_killed(tmp_path, kills=1, seed=7, ray_address=ray_cluster)
    assert outcome.died == {"killed": 1}
    check(outcome, files=3)


def test_a_killed_scoring_loses_and_doubles_nothing(ray_cluster: str, tmp_path: Path) -> None:
    outcome = score_killed(tmp_path, kills=1, seed=7, ray_address=ray_cluster)
    assert outcome.died == {"killed": 1}
    assert (outcome.scores, outcome.lost, outcome.doubled) == (outcome.transactions, 0, 0)
