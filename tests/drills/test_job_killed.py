"""Ten whole jobs of each kind killed at random, with all processes of their Ray."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from job_killed import check, ingest_killed, score_killed

pytestmark = pytest.mark.timeout(900)


def test_ten_killed_ingests_lose_and_double_nothing(tmp_path: Path, capsys) -> None:
    outcome = ingest_killed(tmp_path, kills=10, seed=2026)
    with capsys.disabled():
        print(f"\ningest, 10 kills: {json.dumps(asdict(outcome))}")
    check(outcome, files=12)


def test_ten_killed_scorings_lose_and_double_nothing(tmp_path: Path, capsys) -> None:
    outcome = score_killed(tmp_path, kills=10, seed=2026)
    with capsys.disabled():
        print(f"\nscore, 10 kills: {json.dumps(asdict(outcome))}")
    assert (outcome.scores, outcome.lost, outcome.doubled) == (outcome.transactions, 0, 0)
