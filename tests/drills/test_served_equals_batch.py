"""Ten thousand held-out transactions over HTTP, one by one, on the full data: the batch's scores, exactly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(1200)
def test_ten_thousand_served_scores_equal_the_batch(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cluster",
            "demo",
            "--trials",
            "1",
            "--posted",
            "10000",
            "--work",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    compared = json.loads(done.stdout)["stages"]["serve"]["replay"]
    assert (compared["posted"], compared["equal"], compared["differences"]) == (10_000, 10_000, [])
    assert compared["labels"] > 0
