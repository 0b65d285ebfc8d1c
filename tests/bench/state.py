"""Build the online state: bytes a retained event, both entities together, seconds, and peak memory.

There are --rows events, in a lake that is made first: a card has 30 of them, one a day, a terminal has a
thousand; one in two hundred is labelled as fraud.
"""

from __future__ import annotations

import argparse
import json
import shutil
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pyarrow as pa

from fraud import schema
from fraud.features.spec import load
from fraud.jobs.state import build
from fraud.mapping.ids import tie
from fraud.storage.lake import Lake
from fraud.storage.state_store import LmdbStore

FEATURES = load("handbook", Path(__file__).parents[2] / "configs" / "features")
ENTITIES = ("card_id", "terminal_id")
FIRST = date(2024, 1, 1)
DAYS = 30
DAY_US = 86_400_000_000
FILE_ROWS = 500_000


def texts(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def fill(lake: Lake, rows: int) -> None:
    cards, terminals = rows // DAYS, max(1, rows // 1000)
    rng = np.random.default_rng(1)
    parts, labels = [], []
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        midnight = int(np.datetime64(day, "us").astype(np.int64))
        for first in range(0, cards, FILE_ROWS):
            card = np.arange(first, min(first + FILE_ROWS, cards))
            table = transactions(rng, number * cards + card, card, terminals, midnight)
            parts.append(lake.write_part(schema.TRANSACTIONS, table, day))
            labels.append(frauds(table))
    lake.commit(schema.TRANSACTIONS, schema.transactions(ENTITIES, {}), parts)
    lake.append(schema.LABELS, pa.concat_tables(labels))


def transactions(
    rng: np.random.Generator, number: np.ndarray, card: np.ndarray, terminals: int, midnight: int
) -> pa.Table:
    n, ids = len(number), texts(number)
    at = pa.array(midnight + np.sort(rng.integers(0, DAY_US, n))).cast(schema.TIME)
    amount = pa.array(rng.integers(100, 30_000, n))
    columns = {
        "transaction_id": ids,
        "event_time": at,
        "known_at": at,
        "kind": pa.array(["purchase"] * n),
        "status": pa.nulls(n, pa.string()),
        "status_time": pa.nulls(n, schema.TIME),
        "amount_minor": amount,
        "currency": pa.array(["EUR"] * n),
        "amount_base_minor": amount,
        "tie": pa.array(tie(ids)),
        "card_id": texts(rng.permutation(card)),
        "terminal_id": texts(rng.integers(0, terminals, n)),
        "ingest_id": pa.array(["bench"] * n),
    }
    kind = schema.transactions(ENTITIES, {})
    return pa.table(columns, schema=kind.remove(kind.get_field_index(schema.PARTITION)))


def frauds(table: pa.Table) -> pa.Table:
    rows = table.take(pa.array(np.arange(0, table.num_rows, 200)))
    at = np.asarray(rows.column("event_time").cast(pa.int64()))
    n = rows.num_rows
    columns = {name: rows.column(name) for name in ("transaction_id", "event_time", *ENTITIES, "ingest_id")}
    said = {
        "label_time": pa.array(at + 7 * DAY_US).cast(schema.TIME),
        "source": pa.array(["bank"] * n),
        "is_fraud": pa.array([True] * n),
        "fraud_type": pa.nulls(n, pa.string()),
    }
    kind = schema.labels(ENTITIES)
    return pa.table({name: {**columns, **said}[name] for name in kind.names}, schema=kind)


class Memory:
    """The most memory of its own that this process held while inside; pages of files can be dropped."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
            (own,) = (int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
            self.peak_bytes = max(self.peak_bytes, own * 1024)


def measured(rows: int, folder: Path) -> Iterator[tuple[str, float]]:
    lake = Lake(str(folder / "lake"))
    fill(lake, rows)
    with Memory() as memory:
        report = build(lake, [FEATURES], folder / "state")
    store = LmdbStore(folder / "state")
    used = store.used_bytes()
    store.close()
    yield "transactions", report["transactions"]
    yield "labels", report["labels"]
    yield "cards", report["entities"]["card_id"]
    yield "terminals", report["entities"]["terminal_id"]
    yield "bytes_per_event", round(used / report["transactions"], 1)
    on_disk = (folder / "state" / "data.mdb").stat().st_blocks * 512
    yield "disk_bytes_per_event", round(on_disk / report["transactions"], 1)
    yield "seconds", report["seconds"]
    yield "peak_memory_bytes", memory.peak_bytes


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=3_000_000)
    rows = options.parse_args().rows
    folder = Path(mkdtemp(prefix="bench-state-"))
    try:
        found = dict(measured(rows, folder))
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"rows": rows, **found}))


if __name__ == "__main__":
    main()
