"""Whole jobs that die: an ingest or a scoring, all its processes killed at once, at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from factories_train import START, make_bundle, make_lake

from fraud import schema
from fraud.storage.lake import Lake

ROWS = 500
"""Of each file: the last one is refused, each tenth is a fraud."""
PER_DAY = 100
"""Of the transactions to score: more would reach into the next day."""
HEADER = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD,TX_FRAUD_SCENARIO\n"
ENVIRONMENT = {
    "FRAUD_RAY__NUM_CPUS": "2",
    "FRAUD_RAY__OBJECT_STORE_MEMORY_BYTES": "100000000",
    "FRAUD_RAY__DASHBOARD": "false",
}


@dataclass(frozen=True)
class Outcome:
    """What is in the lake after so many kills and a whole run."""

    rows_in: int
    transactions: int
    lost: int
    doubled: int
    labels_lost: int
    labels_doubled: int
    rejects: int
    files: dict[str, int]
    died: dict[str, int]


def ingest_killed(folder: Path, *, kills: int, seed: int, ray_address: str = "") -> Outcome:
    """Ingest a folder that grows by a file before each run; kill each run but the first and the last.

    Args:
        folder: For the lake and the files.
        kills: How many.
        seed: Of their moments.
        ray_address: A Ray that lives on; without it each job starts its own, which is killed with it.
    """
    rng = np.random.default_rng(seed)
    lake, source = Lake(str(folder / "lake")), folder / "source"
    source.mkdir(parents=True)
    _add_file(source, 0)
    started = time.monotonic()
    _finished(_ingest(lake, source, ray_address))
    takes_s = time.monotonic() - started
    died: Counter[str] = Counter()
    for kill in range(1, kills + 1):
        _add_file(source, kill)
        # Ray's start takes a third of the time and writes nothing.
        died[_killed_after(rng.uniform(0.3, 1.0) * takes_s, _ingest(lake, source, ray_address))] += 1
    _add_file(source, kills + 1)
    _finished(_ingest(lake, source, ray_address))
    return _counted(lake, kills + 2, died)


@dataclass(frozen=True)
class Scored:
    """What is in the lake after so many kills and a whole run."""

    transactions: int
    scores: int
    lost: int
    doubled: int
    died: dict[str, int]


def score_killed(folder: Path, *, kills: int, seed: int) -> Scored:
    """Score a lake, each run with one day more to do; kill each run but the first and the last.

    Args:
        folder: For the lake and the model.
        kills: How many.
        seed: Of their moments.
    """
    rng = np.random.default_rng(seed)
    lake, made = Lake(str(folder / "lake")), make_bundle(folder / "bundle").path
    ids = make_lake(lake, days=2 * kills + 2, per_day=PER_DAY)
    started = time.monotonic()
    _finished(_score(lake, made, 0))
    takes_s = time.monotonic() - started
    died: Counter[str] = Counter()
    for day in range(1, 2 * kills + 1):
        if died["killed"] < kills:
            died[_killed_after(rng.uniform(0.3, 1.0) * takes_s, _score(lake, made, day))] += 1
    _finished(_score(lake, made, 2 * kills + 1))
    scored = Counter(lake.read(schema.SCORES, columns=["transaction_id"]).column(0).to_pylist())
    lost = len(set(ids) - set(scored))
    return Scored(len(ids), scored.total(), lost, scored.total() - len(scored), dict(died))


def _score(lake: Lake, made: Path, day: int) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("whole_score.py")
    last = (START + timedelta(days=day)).date().isoformat()
    return _job([str(script), lake.uri, str(made), last])


def _add_file(source: Path, number: int) -> None:
    rows = [
        f"{number}-{row},2026-03-{1 + row % 28:02d} 10:00:{row % 60:02d},c{row % 50},t{row % 20},"
        f"{'x' if row == ROWS - 1 else row}.50,{int(row % 10 == 0)},1\n"
        for row in range(ROWS)
    ]
    unfinished = source / "unfinished"
    unfinished.write_text(HEADER + "".join(rows))
    unfinished.rename(source / f"{number:04d}.csv")


def _ingest(lake: Lake, source: Path, ray_address: str) -> subprocess.Popen[bytes]:
    told = ["-m", "cluster", "ingest", str(source), "--mapping", "handbook"]
    return _job([*told, "--lake", lake.uri, "--work", str(source.parent / "work")], ray_address)


def _job(told: list[str], ray_address: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *told],
        env=os.environ | ENVIRONMENT | {"RAY_ADDRESS": ray_address},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _finished(job: subprocess.Popen[bytes]) -> dict[str, Any]:
    said, _ = job.communicate(timeout=120)
    assert job.returncode == 0
    report: dict[str, Any] = json.loads(said)
    return report


def _killed_after(seconds: float, job: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        job.wait(seconds)
        return "ended alive"
    for process in _with_descendants(job.pid):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    job.wait()
    return "killed"


def _with_descendants(process: int) -> list[int]:
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found = [process]
    for parent in found:  # grows while it is read
        found += [child for child, of in pairs if of == parent]
    return found


def _counted(lake: Lake, files: int, died: Counter[str]) -> Outcome:
    expected = {f"{number}-{row}" for number in range(files) for row in range(ROWS - 1)}
    frauds = {each for each in expected if int(each.split("-")[1]) % 10 == 0}
    found = Counter(lake.read(schema.TRANSACTIONS, columns=["transaction_id"]).column(0).to_pylist())
    labels = Counter(lake.read(schema.LABELS, columns=["transaction_id"]).column(0).to_pylist())
    listed = lake.read(schema.INGESTED_FILES, columns=["path"]).column(0).to_pylist()
    return Outcome(
        rows_in=files * ROWS,
        transactions=found.total(),
        lost=len(expected - set(found)),
        doubled=found.total() - len(found),
        labels_lost=len(frauds - set(labels)),
        labels_doubled=labels.total() - len(labels),
        rejects=lake.read(schema.REJECTS, columns=["reason"]).num_rows,
        files=dict(Counter(Path(path).name for path in listed)),
        died=dict(died),
    )


def check(outcome: Outcome, *, files: int) -> None:
    """Nothing is lost or double, whatever died."""
    assert outcome.transactions == files * (ROWS - 1)
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert (outcome.labels_lost, outcome.labels_doubled) == (0, 0)
    assert outcome.rejects == files
    assert set(outcome.files.values()) == {1}
    assert len(outcome.files) == files
