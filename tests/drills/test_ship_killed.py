"""A hundred shippers killed at random while a writer appends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ship_killed import begin, killed

from fraud.storage.lake import Lake


@pytest.mark.timeout(600)
def test_a_hundred_kills_lose_and_double_nothing(lake: Lake, tmp_path: Path, capsys) -> None:
    begin(lake)
    outcome = killed(lake, tmp_path / "journal", kills=100, seed=2026)
    with capsys.disabled():
        print(f"\nship, 100 kills: {json.dumps(outcome.table)}")
    assert min(outcome.records.values()) > 100
    assert set(outcome.missing.values()) == set(outcome.doubled.values()) == {0}
