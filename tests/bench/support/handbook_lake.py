"""A lake of N rows made of copies of the Handbook data: ids are shifted, times are not.

The data is ingested once as anyone would do it; then each of its days is written again with all its copies.
Row n of the lake has the transaction id n, so that what is asked of the terminals follows from the id alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud import schema
from fraud.mapping.ids import tie
from fraud.storage.lake import Lake, Part

CHECKOUT = Path(__file__).parents[3]
READY = CHECKOUT.parent / "shared" / "data" / "handbook.parquet"
"""The Handbook data where somebody has put it beside the checkout; the simulator makes the same."""

SIZES = {"transaction_id": 1_754_155, "card_id": 5_000, "terminal_id": 10_000}
"""How many ids one copy uses, and so how far the next one's are shifted."""
FILE_ROWS = 1_000_000
"""A day of more rows is cut into several files."""
HOT = "hot"
"""The id of the terminal that many transactions share."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a lake holds.

    Attributes:
        rows: Transactions.
        hot: How many of them share one terminal, spread evenly over them.
        null_share: The share of them that has no terminal.
        days: First and last of the Handbook's days, counted from 0, the last not included; all without it.
            Rows of other days are left out.
    """

    rows: int
    hot: int = 0
    null_share: float = 0.0
    days: tuple[int, int] | None = None

    @property
    def copies(self) -> int:
        """Of the Handbook data, the last one in part."""
        return -(-self.rows // SIZES["transaction_id"])

    @property
    def folder(self) -> str:
        """The lake's name in the work directory."""
        hot = f"-hot{self.hot}" if self.hot else ""
        null = f"-null{self.null_share}" if self.null_share else ""
        days = f"-days{self.days[0]}-{self.days[1]}" if self.days else ""
        return f"handbook-{self.rows}{hot}{null}{days}"


def make(work: Path, shape: Shape) -> Lake:
    """Return the lake of this shape, made where the work directory does not hold it yet."""
    folder = work / shape.folder
    lake = Lake(str(folder))
    if lake.exists(schema.TRANSACTIONS):
        return lake
    shutil.rmtree(folder, ignore_errors=True)
    base = ingested(work)
    kind = base.schema(schema.TRANSACTIONS)
    days = sorted({part.event_date for part in base.parts(schema.TRANSACTIONS) if part.event_date})
    days = days[slice(*(shape.days or (None,)))]
    labels = _copies(_of_days(base, days), shape)
    lake.append(schema.LABELS, labels)
    with ThreadPoolExecutor(2) as pool:
        parts = [part for day in pool.map(partial(_write_day, base, lake, shape), days) for part in day]
    lake.commit(schema.TRANSACTIONS, kind, parts)
    return lake


def _of_days(base: Lake, days: Sequence[date]) -> pa.Table:
    """The labels of the transactions of some days."""
    held = base.read(
        schema.TRANSACTIONS, columns=["transaction_id"], days=(days[0], days[-1] + timedelta(days=1))
    )
    labels = base.read(schema.LABELS)
    return labels.filter(pc.is_in(labels.column("transaction_id"), value_set=held.column(0).combine_chunks()))


def ingested(work: Path) -> Lake:
    """The Handbook data as `fraud ingest` brings it in."""
    lake = Lake(str(work / "handbook-ingested"))
    if not lake.exists(schema.TRANSACTIONS):
        source = READY
        if not source.exists():
            source = work / "handbook-simulated"
            _fraud("simulate", "--profile", "handbook", "--out", str(source))
        _fraud("ingest", str(source), "--mapping", "handbook", "--lake", lake.uri)
    return lake


def _fraud(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("fraud")), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _write_day(base: Lake, lake: Lake, shape: Shape, day: date) -> list[Part]:
    once = base.read(schema.TRANSACTIONS, days=(day, day + timedelta(days=1)))
    rows = _copies(once, shape)
    rows = _with(rows, "tie", pa.array(tie(rows.column("transaction_id"))))
    rows = rows.sort_by([("event_time", "ascending"), ("tie", "ascending")])  # as an ingest leaves them
    return [
        lake.write_part(schema.TRANSACTIONS, rows.slice(first, FILE_ROWS), day)
        for first in range(0, rows.num_rows, FILE_ROWS)
    ]


def _copies(table: pa.Table, shape: Shape) -> pa.Table:
    """All copies of some rows, as far as the shape needs them."""
    rows = pa.concat_tables([_copy(table, number) for number in range(shape.copies)])
    number = _numbers(rows.column("transaction_id"))
    rows, number = rows.filter(pa.array(number < shape.rows)), number[number < shape.rows]
    terminal = rows.column("terminal_id")
    hot = _every(number, shape.hot, shape.rows)
    null = _every(number, round(shape.null_share * shape.rows), shape.rows)
    terminal = pc.if_else(pa.array(hot), pa.scalar(HOT), terminal)
    return _with(rows, "terminal_id", pc.if_else(pa.array(null), pa.scalar(None, pa.string()), terminal))


def _copy(table: pa.Table, number: int) -> pa.Table:
    for name, size in SIZES.items():
        shifted = _numbers(table.column(name)) + number * size
        table = _with(table, name, pa.array(shifted).cast(pa.string()))
    return table


def _numbers(ids: pa.ChunkedArray) -> np.ndarray:
    return ids.cast(pa.int64()).to_numpy()


def _every(number: np.ndarray, count: int, rows: int) -> np.ndarray:
    """Choose so many of the numbers below ``rows``, evenly spread; ``number`` are some of those."""
    return (number + 1) * count // rows > number * count // rows


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), column)
