"""Two hundred runs of batch scoring killed at random."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from score_killed import bundle_folder, killed

from fraud.storage.lake import Lake


@pytest.mark.timeout(900)
def test_two_hundred_kills_lose_and_double_nothing(lake: Lake, tmp_path: Path, capsys) -> None:
    outcome = killed(lake, bundle_folder(tmp_path / "bundle"), kills=200, seed=2026)
    with capsys.disabled():
        print(f"\nscore, 200 kills: {json.dumps(asdict(outcome))}")
    assert outcome.scores == outcome.transactions
    assert (outcome.lost, outcome.doubled, outcome.partial_commits) == (0, 0, 0)
