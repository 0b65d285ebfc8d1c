"""One slice of a source through a mapping, its rows written as parts that nobody sees yet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fraud import schema
from fraud.jobs.mapped import read_mapped
from fraud.jobs.source_rows import Slice
from fraud.mapping.apply import Applied, attribute_types
from fraud.mapping.census import Census, take_census
from fraud.mapping.spec import Mapping
from fraud.money import Rates
from fraud.storage.lake import Lake, Part


@dataclass(frozen=True, slots=True)
class NewPart:
    """An uncommitted part of ``transactions``.

    Attributes:
        path: The source file.
        part: The part.
        ties: Of its rows, shape ``(n,)``.
        rows: Their numbers in the source file, shape ``(n,)``.
    """

    path: str
    part: Part
    ties: NDArray[np.int64]
    rows: NDArray[np.int64]


@dataclass(slots=True)
class Written:
    """What became of one slice.

    Attributes:
        path: The file.
        rows: Read.
        columns: Of a file that may leave columns out (JSON Lines): those that came up.
        parts: Of ``transactions``, in the order of the file.
        labels: What its rows say of frauds, with the columns of ``Applied.labels``.
        rejects: Parts of ``rejects``.
        reasons: Refused rows by reason.
        census: Of its transactions, where the mapping expects something of the batch.
    """

    path: str
    rows: int = 0
    columns: set[str] = field(default_factory=set)
    parts: list[NewPart] = field(default_factory=list)
    labels: list[pa.Table] = field(default_factory=list)
    rejects: list[Part] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    census: Census = field(default_factory=Census)


@dataclass(frozen=True, slots=True)
class Slicer:
    """Everything a task needs to know of an ingest.

    Attributes:
        lake: Where parts are written.
        mapping: How to read the source.
        rates: Into the base currency.
        ingest_id: Stamped on every row.
        now: The time of the ingest.
        featurized: Days whose features were computed before.
    """

    lake: Lake
    mapping: Mapping
    rates: Rates
    ingest_id: str
    now: datetime
    featurized: frozenset[date]

    def run(self, piece: Slice) -> Written:
        """Read a slice and write its rows."""
        written = Written(piece.path)
        for batch in read_mapped(piece, self.mapping, self.rates, self.now):
            written.rows += batch.rows
            written.columns |= batch.columns
            for found in batch.found:
                self._keep(found, written)
        return written

    def _keep(self, found: Applied, written: Written) -> None:
        if found.refused.num_rows:
            written.rejects.append(self.write_rejects(found.refused, written.path))
            written.reasons.update(found.refused.column("reason").to_pylist())
        if found.labels.num_rows:
            written.labels.append(found.labels)
        if found.transactions.num_rows:
            if self.mapping.expect is not None:
                written.census += take_census(found.transactions, self.mapping.expect.max_null_share)
            self._keep_transactions(found.transactions, found.rows, written)

    def _keep_transactions(self, found: pa.Table, rows: NDArray[np.int64], written: Written) -> None:
        kind = schema.transactions(self.mapping.entities, attribute_types(self.mapping))
        stamped = found.append_column("ingest_id", pa.repeat(self.ingest_id, found.num_rows))
        table = stamped.select(kind.names).cast(kind)
        days = np.asarray(table.column(schema.PARTITION).cast(pa.int32()).to_numpy())
        times = np.asarray(table.column("event_time").cast(pa.int64()).to_numpy())
        ties = np.asarray(table.column("tie").to_numpy(), np.int64)
        for day in np.unique(days):
            own = np.flatnonzero(days == day)
            own = own[np.lexsort((ties[own], times[own]))]  # the order in which windows read them
            event_date = date.fromordinal(date(1970, 1, 1).toordinal() + int(day))
            dated = self._dated(table.take(pa.array(own)), event_date)
            part = self.lake.write_part(schema.TRANSACTIONS, dated, event_date)
            written.parts.append(NewPart(written.path, part, ties[own], rows[own]))

    def is_late(self, day: date | None) -> bool:
        """Whether rows of this day come after it was featurized, with no word on when they became known."""
        return day in self.featurized and self.mapping.columns.known_at is None

    def _dated(self, table: pa.Table, day: date) -> pa.Table:
        if not self.is_late(day):
            return table
        place = table.schema.get_field_index("known_at")
        now = pa.repeat(pa.scalar(self.now, schema.TIME), table.num_rows)
        return table.set_column(place, table.schema.field(place), now)

    def write_rejects(self, refused: pa.Table, path: str) -> Part:
        """Write refused rows (row, reason, detail, raw) as a part of ``rejects``."""
        n = refused.num_rows
        columns = {name: refused.column(name) for name in refused.column_names} | {
            "source": pa.array([path] * n, pa.string()),
            "ingest_id": pa.array([self.ingest_id] * n, pa.string()),
            "rejected_at": pa.array([self.now] * n, schema.TIME),
        }
        table = pa.table(columns).select(schema.REJECTS_SCHEMA.names).cast(schema.REJECTS_SCHEMA)
        return self.lake.write_part(schema.REJECTS, table)
