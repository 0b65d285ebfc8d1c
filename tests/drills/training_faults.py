"""Faults of training workers, struck by the workers themselves at stated rounds, and a record of all rounds.

The driver puts ``Struck`` in the place of the engines' own callback and sends it to the workers by value, as
they cannot import it from here.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
import xgboost as xgb
from xgboost.collective import get_rank

from fraud.jobs import boosting, ray_train_engine, xgboost_ray_engine

own_loop = ray_train_engine._loop
FAULTS = "faults.json"


@dataclass(frozen=True)
class Fault:
    """What one rank sends itself when it has boosted so many rounds, once."""

    rank: int
    round: int
    signal: int


@dataclass(frozen=True)
class Boosted:
    """A round, as the worker recorded it."""

    rank: int
    round: int
    pid: int
    at: float


class Struck(boosting.Keep):
    """The engines' callback, preceded by the faults and the record."""

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: dict[str, Any]) -> bool:
        folder = next(f for f in self._checkpoints.folder.parents if (f / FAULTS).exists())
        me = Boosted(get_rank(), model.num_boosted_rounds(), os.getpid(), time.time())
        with (folder / f"rank-{me.rank}.jsonl").open("a") as record:
            record.write(json.dumps(asdict(me)) + "\n")
        for number, fault in enumerate(json.loads((folder / FAULTS).read_text())):
            if (fault["rank"], fault["round"]) == (me.rank, me.round) and _first(folder / f"struck-{number}"):
                os.kill(me.pid, fault["signal"])
        return super().after_iteration(model, epoch, evals_log)


def loop(config: dict[str, Any]) -> list[bytes] | None:
    """Ray Train's loop with ``Struck`` in it."""
    boosting.Keep = Struck
    return own_loop(config)


def prepare(folder: Path, faults: Sequence[Fault], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the trainings whose storage is this folder struck."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    (folder / FAULTS).write_text(json.dumps([asdict(fault) for fault in faults]))
    monkeypatch.setattr(ray_train_engine, "_loop", loop)
    monkeypatch.setattr(xgboost_ray_engine, "Keep", Struck)


def record(folder: Path, rank: int) -> list[Boosted]:
    """Every round that this rank boosted, in the order of time."""
    return [Boosted(**json.loads(line)) for line in (folder / f"rank-{rank}.jsonl").read_text().splitlines()]


def redone(rounds: Sequence[Boosted]) -> list[int]:
    """How many rounds each new start boosted again."""
    return [
        before.round + 1 - after.round
        for before, after in itertools.pairwise(rounds)
        if after.pid != before.pid
    ]


def killed_at(pid: int) -> Iterator[float | None]:
    """None while the process is there, stopped or not; then when it was first seen to be gone."""
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
        yield None
    yield time.time()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def _first(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


KILL, STOP = int(signal.SIGKILL), int(signal.SIGSTOP)
