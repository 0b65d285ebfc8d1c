"""Scoring that dies: the committing process alone, without Ray, forked from one that imported everything."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from factories_policy import make_policy
from factories_train import FEATURE_SET, make_bundle, make_lake
from mortal_processes import processes

from fraud import schema
from fraud.jobs import score
from fraud.jobs.score_day import Scorer
from fraud.model import bundle
from fraud.settings import ScoreSettings
from fraud.storage.lake import Lake
from fraud.storage.registry import ModelRef

PER_DAY = 20
POLICY = make_policy("p1", max_reasons=2)
REFERENCE = ModelRef(
    "fraud", "1", "run", "digest", "policy", FEATURE_SET.version, "{}", datetime(2026, 1, 1, tzinfo=UTC)
)
STEPS = ("table made", "files written", "committed")


class Mortal(Lake):
    """A lake that ends its process at once when a step is done."""

    __slots__ = ("step",)

    def __init__(self, uri: str, step: str) -> None:
        super().__init__(uri)
        object.__setattr__(self, "step", step)

    def _done(self, step: str) -> None:
        if step == self.step:
            os._exit(9)

    def ensure(self, name: str, schema: pa.Schema) -> None:
        """Make the table."""
        Lake.ensure(self, name, schema)
        self._done("table made")

    def commit_beside(self, name: str, *given: Any, apps: Any) -> None:
        """Commit what has been written."""
        self._done("files written")
        Lake.commit_beside(self, name, *given, apps=apps)
        self._done("committed")


def score_here(lake: Lake, made: Path) -> dict[str, Any]:
    """Score in this process what is to be scored."""

    def here(lake: Lake, days: Any, loaded: bundle.Bundle, policy: Any, stamp: Any, **_: Any) -> Any:
        files = {file.name: file.read_bytes() for file in loaded.path.iterdir()}
        return Scorer(lake, files, policy, stamp)({"day": days}).to_pylist()

    score._work = here
    return score.run(lake, REFERENCE, bundle.load(made), POLICY, settings=ScoreSettings())


def die_at(lake: Lake, made: Path, step: str) -> int:
    """Score in another process, which ends at once when a step is done; return its exit code."""
    process = processes().Process(target=_die_at, args=(lake.uri, made, step))
    process.start()
    process.join(60)
    return process.exitcode or 0


def _die_at(uri: str, made: Path, step: str) -> None:
    score_here(Mortal(uri, step), made)


@dataclass(frozen=True)
class Outcome:
    """What is in the lake after so many kills and a whole run."""

    transactions: int
    scores: int
    lost: int
    doubled: int
    partial_commits: int
    died: Counter[str]


def killed(lake: Lake, made: Path, *, kills: int, seed: int) -> Outcome:
    """Kill scoring at random, each time with a new day to score, then score in peace and count."""
    rng = np.random.default_rng(seed)
    ids = make_lake(lake, days=1, per_day=PER_DAY)
    takes_s = _killed_after(None, lake, made).seconds
    died: Counter[str] = Counter()
    day = 0
    while died["before the commit"] + died["after the commit"] < kills:
        day += 1
        ids += make_lake(lake, days=1, per_day=PER_DAY, first_day=day)
        before = lake.version(schema.SCORES)
        # What earlier runs left undone takes longer.
        ended = _killed_after(rng.uniform(0, 2.5 * takes_s), lake, made)
        when = "before the commit" if lake.version(schema.SCORES) == before else "after the commit"
        died[when if ended.killed else "ended alive"] += 1
    score_here(lake, made)
    scored = Counter(lake.read(schema.SCORES).column("transaction_id").to_pylist())
    return Outcome(
        len(ids),
        scored.total(),
        len(set(ids) - set(scored)),
        scored.total() - len(scored),
        _partial(lake),
        died,
    )


@dataclass(frozen=True)
class _End:
    seconds: float
    killed: bool


def _killed_after(delay_s: float | None, lake: Lake, made: Path) -> _End:
    """Score in another process and kill it so long after it began, or let it end."""
    told, tell = processes().Pipe(duplex=False)
    process = processes().Process(target=_tell, args=(lake, made, tell))
    process.start()
    told.recv()
    begun = time.monotonic()
    if delay_s is not None:
        time.sleep(delay_s)
        process.kill()
    process.join(60)
    assert process.exitcode in (0, -9), f"scoring ended by itself with {process.exitcode}"
    return _End(time.monotonic() - begun, process.exitcode == -9)


def _tell(lake: Lake, made: Path, tell: Connection) -> None:
    tell.send("begun")
    score_here(lake, made)


def _partial(lake: Lake) -> int:
    """How many versions of the scores have a day of which a part is missing."""
    newest = lake.version(schema.SCORES) or 0
    days = [
        Counter(part.day for part in lake.parts(schema.SCORES, version=version))
        for version in range(newest + 1)
    ]
    rows = [
        {part.rows for part in lake.parts(schema.SCORES, version=version)} for version in range(newest + 1)
    ]
    return sum(
        max(count.values(), default=1) > 1 or not has <= {PER_DAY}
        for count, has in zip(days, rows, strict=True)
    )


def bundle_folder(folder: Path) -> Path:
    """Write the bundle to score with; return its folder."""
    return make_bundle(folder).path
