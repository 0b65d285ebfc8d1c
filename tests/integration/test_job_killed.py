"""A whole job that is killed: the drill of ten, once, on the Ray of all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_killed import check, ingest_killed

pytestmark = pytest.mark.ray


def test_a_killed_ingest_loses_and_doubles_nothing(ray_cluster: str, tmp_path: Path) -> None:
    outcome = ingest_killed(tmp_path, kills=1, seed=7, ray_address=ray_cluster)
    assert outcome.died == {"killed": 1}
    check(outcome, files=3)
