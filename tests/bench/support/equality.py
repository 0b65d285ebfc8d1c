"""Whether two runs computed the same features, on a sample of days."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fraud.features.spec import FeatureSet
from fraud.storage.lake import Lake

SAMPLE_DAYS = 7
TOLERANCE = 1e-9


class DifferenceError(Exception):
    """The runs disagree."""


def compare(lake: Lake, features: FeatureSet, peer: Path) -> int:
    """Compare a feature set's table with a peer's file on days from the first to the last.

    Returns:
        How many rows were compared.

    Raises:
        DifferenceError: Naming the day, the column and the transaction.
    """
    parts = lake.parts(features.table)
    days = sorted({part.event_date for part in parts if part.event_date})
    if pq.ParquetFile(peer).metadata.num_rows != sum(part.rows for part in parts):
        raise DifferenceError("the peer wrote another number of rows")
    chosen = {days[place] for place in np.linspace(0, len(days) - 1, SAMPLE_DAYS).astype(int)}
    return sum(_compare_day(lake, features, peer, day) for day in sorted(chosen))


def _compare_day(lake: Lake, features: FeatureSet, peer: Path, day: date) -> int:
    columns = ["transaction_id", "event_time", *features.names]
    only = (day, day + timedelta(days=1))
    ours = lake.read(features.table, columns=columns, days=only).sort_by("transaction_id")
    theirs = _day_of(peer, day, columns)
    if ours.num_rows != theirs.num_rows:
        raise DifferenceError(f"{day}: {ours.num_rows} rows, the peer has {theirs.num_rows}")
    ids = ours.column("transaction_id").to_numpy()
    for name in theirs.column_names:
        same = _same(ours.column(name), theirs.column(name))
        if not same.all():
            first = int(np.argmin(same))
            values = f"{ours.column(name)[first]}, the peer has {theirs.column(name)[first]}"
            raise DifferenceError(f"{day}: {name} of transaction {ids[first]} is {values}")
    return len(ids)


def _day_of(peer: Path, day: date, columns: list[str]) -> pa.Table:
    first = datetime.combine(day, time(), UTC)
    within = [("event_time", ">=", first), ("event_time", "<", first + timedelta(days=1))]
    table = pq.read_table(peer, columns=columns, filters=within)
    place = table.schema.get_field_index("transaction_id")
    return table.set_column(place, "transaction_id", table.column(place).cast(pa.string())).sort_by(
        "transaction_id"
    )


def _same(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_floating(ours.type):
        return np.isclose(ours.to_numpy(), theirs.to_numpy(), rtol=TOLERANCE, atol=0, equal_nan=True)
    return ours.to_numpy() == theirs.to_numpy()
