"""Shippers that die: processes of their own, forked from one that has imported everything."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
from factories import label_table, transaction_table
from factories_journal import NOON, decision, event, label, shadow
from mortal_processes import processes

from fraud.jobs.ship import Shipper
from fraud.mapping.ids import tie
from fraud.storage.journal import Journal
from fraud.storage.lake import Lake

tie(pa.array(["loads what is compiled"]))

KEYS = {
    "decisions": ("transaction_id",),
    "transactions": ("transaction_id",),
    "labels": ("transaction_id", "label_time", "source"),
    "scores": ("transaction_id", "model_version", "run_kind"),
}


def begin(lake: Lake) -> None:
    """Give a lake some transactions that a file brought."""
    lake.append("labels", label_table([]))
    rows = [{"transaction_id": name, "event_time": NOON} for name in ("old", "other")]
    lake.append("transactions", transaction_table(rows))


def die_at(lake: Lake, folder: Path, step: str) -> int:
    """Make a pass in another process, which ends at once when a step is done; return its exit code."""
    process = processes().Process(target=_die_at, args=(lake, folder, step))
    process.start()
    process.join(60)
    return process.exitcode or 0


def _die_at(lake: Lake, folder: Path, step: str) -> None:
    def passed(done: str) -> None:
        if done == step:
            os._exit(9)

    Shipper(lake, folder, passed=passed).run()


def _ship_forever(lake: Lake, folder: Path, told: Connection) -> None:
    shipper = Shipper(lake, folder, passed=told.send)
    while True:
        told.send("nothing")
        shipper.run()


class Writer(threading.Thread):
    """Writes to a journal until it is stopped: each record at least once, into many small segments."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.seed = folder, seed
        self.written: dict[str, set[str]] = {name: set() for name in KEYS}
        self.stopped = threading.Event()

    def run(self) -> None:
        asyncio.run(self._write())

    async def _write(self) -> None:
        journal = Journal(self.folder, segment_bytes=40_000)
        rng, number = np.random.default_rng(self.seed), 0
        while not self.stopped.is_set():
            await asyncio.gather(*(self._one(journal, rng, number + n) for n in range(5)))
            number += 5
            await asyncio.sleep(0.02)
        await journal.close()

    async def _one(self, journal: Journal, rng: np.random.Generator, number: int) -> None:
        """A transaction with what else is said of it, in any order, some of it twice."""
        name = f"t{number}"
        records = {"decisions": decision(name)} if rng.random() < 0.8 else {"transactions": event(name)}
        if rng.random() < 0.3:
            records["labels"] = label(name)
        if rng.random() < 0.3:
            records["scores"] = shadow(name)
        said = [(table, raw) for table, raw in records.items() for _ in range(1 + (rng.random() < 0.2))]
        for place in rng.permutation(len(said)).tolist():
            table, raw = said[place]
            await journal.write(raw)
            self.written[table].add(name)
            if table == "decisions":
                self.written["transactions"].add(name)


@dataclass(frozen=True)
class Outcome:
    """What was acknowledged, and what the lake makes of it."""

    records: dict[str, int]
    missing: dict[str, int]
    doubled: dict[str, int]
    died_after: dict[str, int]

    @property
    def table(self) -> dict[str, object]:
        """For a person."""
        names = ("records", "missing", "doubled", "died_after")
        return {name: getattr(self, name) for name in names}


def killed(lake: Lake, folder: Path, *, kills: int, seed: int) -> Outcome:
    """Kill shippers at random while a writer appends, then make one whole pass and count."""
    rng = np.random.default_rng(seed)
    writer = Writer(folder, seed)
    writer.start()
    died_after = Counter(
        _killed_after(int(rng.integers(1, 12)), rng.uniform(0, 0.05), lake, folder) for _ in range(kills)
    )
    writer.stopped.set()
    writer.join(30)
    Shipper(lake, folder).run()
    rows = {name: _rows(lake, name) for name in KEYS}
    return Outcome(
        {name: len(ids) for name, ids in writer.written.items()},
        {name: len(ids - {key[0] for key in rows[name]}) for name, ids in writer.written.items()},
        {name: sum(rows[name].values()) - len(rows[name]) for name in KEYS},
        dict(died_after),
    )


def _killed_after(steps: int, seconds: float, lake: Lake, folder: Path) -> str:
    """Kill a shipper so long after so many steps; return the last one that it had done."""
    told, tell = processes().Pipe(duplex=False)
    shipper = processes().Process(target=_ship_forever, args=(lake, folder, tell))
    shipper.start()
    for _ in range(steps):
        assert told.poll(60)
        done = told.recv()
    time.sleep(seconds)
    shipper.kill()
    shipper.join(30)
    assert shipper.exitcode == -9, f"the shipper ended by itself with {shipper.exitcode}"
    tell.close()
    with suppress(EOFError):
        while told.poll():
            done = told.recv()
    return done


def _rows(lake: Lake, name: str) -> Counter[tuple[str, ...]]:
    columns = lake.read(name, columns=KEYS[name]).to_pydict()
    return Counter(zip(*columns.values(), strict=True))
