"""A search whose driver is killed with -9: at half, while it writes its runs, while its winner trains."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fraud.storage.lake import Lake
from fraud.storage.tracking import Tracking
from tests.factories_train import FEATURE_SET, make_lake

TRIALS = 16
SETTINGS = {
    "ray": {"num_cpus": 2, "dashboard": False, "object_store_memory_bytes": 300_000_000},
    "train": {"max_bin": 64, "train_d": 10, "calibration_d": 5},
    "tune": {"trials": TRIALS, "folds": 2, "train_d": 5, "test_d": 3, "report_rounds": 10},
}


class Search:
    """One work directory, in which `fraud tune` is started as often as it takes."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.log = folder / "stderr"
        (folder / "settings.yaml").write_text(yaml.safe_dump(SETTINGS))
        (folder / "small.yaml").write_text(FEATURE_SET.to_yaml())
        self._command = [
            sys.executable, "-m", "cluster", "tune", "--work", str(self.work),
            "--config", str(folder / "settings.yaml"), "--features", str(folder / "small.yaml"),
        ]  # fmt: skip

    def journalled(self) -> list[dict[str, Any]]:
        """The trials of the journal, as they stand there."""
        trials = []
        for file in (self.work / "runs").glob("search-*.jsonl"):
            for line in file.read_text().splitlines():
                if "params" in line and line.endswith("}"):
                    trials.append(json.loads(line))
        return trials

    def tracked(self) -> int:
        """The runs of trials that MLflow holds."""
        try:
            with sqlite3.connect(f"file:{self.work}/mlflow.db?mode=ro", uri=True) as store:
                return int(store.execute("select count(*) from runs where name like 'trial-%'").fetchone()[0])
        except sqlite3.OperationalError:
            return 0

    def kill_when(self, moment: Callable[[], bool]) -> None:
        """Start the search and kill its driver at a moment."""
        with (
            self.log.open("w") as log,
            subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=log) as driver,
        ):
            while not moment():
                assert driver.poll() is None, self.log.read_text()[-3000:]
                time.sleep(0.02)
            driver.send_signal(signal.SIGKILL)

    def finish(self) -> dict[str, Any]:
        """Start the search and let it end."""
        ended = subprocess.run(self._command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-3000:]
        result: dict[str, Any] = json.loads(ended.stdout)
        return result


@pytest.mark.timeout(1200)
def test_no_trial_is_run_again_however_often_the_driver_is_killed(tmp_path: Path) -> None:
    search = Search(tmp_path)
    lake = Lake(str(search.work / "lake"))
    make_lake(lake, days=40)
    assert lake.exists(FEATURE_SET.table)

    search.kill_when(lambda: len(search.journalled()) >= TRIALS // 2)
    half = search.journalled()
    assert TRIALS // 2 <= len(half) < TRIALS
    search.kill_when(lambda: search.tracked() >= TRIALS // 2)
    whole = search.journalled()
    assert whole[: len(half)] == half
    assert len(whole) == TRIALS
    search.kill_when(lambda: "fraud.jobs.engine: training" in search.log.read_text())
    assert search.journalled() == whole

    report = search.finish()

    found = report["search"]
    assert (found["trials"], found["resumed"], found["failed"]) == (TRIALS, TRIALS, 0)
    assert len({json.dumps(trial["params"], sort_keys=True) for trial in whole}) == TRIALS
    assert search.journalled() == []
    tracking = Tracking(f"sqlite:///{search.work}/mlflow.db", str(search.work / "artifacts"), "fraud")
    with sqlite3.connect(search.work / "mlflow.db") as store:
        searches = store.execute("select run_uuid, status from runs where name = 'search'").fetchall()
    assert searches == [(found["parent_run_id"], "FINISHED")]
    children = tracking.children(found["parent_run_id"])
    trials = [child for child in children if child["tags"]["job"] == "trial"]
    assert [trial["status"] for trial in trials] == ["FINISHED"] * TRIALS
    assert len({trial["name"] for trial in trials}) == TRIALS
    assert sorted(trial["metrics"]["average_precision"] for trial in trials) == sorted(
        trial["value"] for trial in whole
    )
    assert report["train"]["model_version"] == "1"
