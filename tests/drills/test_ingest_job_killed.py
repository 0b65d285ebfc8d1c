"""Ten whole ingest jobs killed at random, with all processes of their Ray."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from job_killed import check, ingest_killed


@pytest.mark.timeout(900)
def test_ten_killed_jobs_lose_and_double_nothing(tmp_path: Path, capsys) -> None:
    outcome = ingest_killed(tmp_path, kills=10, seed=2026)
    with capsys.disabled():
        print(f"\ningest, 10 kills: {json.dumps(asdict(outcome))}")
    check(outcome, files=12)
