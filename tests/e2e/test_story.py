"""The demo, small, on the real stack: what a user runs first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def demo(work: Path, address: str) -> dict:
    command = ["demo", "--customers", "400", "--terminals", "800", "--trials", "2", "--posted", "300"]
    done = subprocess.run(
        [sys.executable, "-m", "cluster", *command, "--work", str(work)],
        env={**os.environ, "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "answers equal to the batch, exactly" in done.stderr
    return json.loads(done.stdout)


def test_demo_runs_whole_and_online_equals_batch(ray_cluster, tmp_path):
    stages = demo(tmp_path / "work", ray_cluster)["stages"]
    transactions = stages["simulate"]["transactions"]
    assert stages["ingest"]["transactions"] == stages["featurize"]["transactions"] == transactions
    assert stages["serve"]["replay"]["equal"] == stages["serve"]["replay"]["posted"] == 300
    assert stages["serve"]["replay"]["labels"] > 0
    assert stages["promote"]["how"] == "gate"
    assert stages["score"]["scored"] > 0
    assert stages["evaluate"]["average_precision"]["mean"] > 0.3
    assert stages["monitor"]["newest_matured"]["precision"] is not None
    assert Path(stages["monitor"]["page"]).is_file()
