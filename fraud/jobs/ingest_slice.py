"""One slice of a source through a mapping: its rows written as parts that nobody sees yet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.jobs.source import MALFORMED, Slice, read
from fraud.mapping.apply import Applied, apply_labels, apply_transactions, attribute_types, late_rows, rejects
from fraud.mapping.apply import Faults as RowFaults
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
        late: Accepted, after their day was featurized.
        parts: Of ``transactions``, in the order of the file.
        labels: Rows for ``labels`` (of a file of labels: not yet joined with their transactions).
        rejects: Parts of ``rejects``.
        reasons: Refused rows by reason.
    """

    path: str
    rows: int = 0
    late: int = 0
    parts: list[NewPart] = field(default_factory=list)
    labels: list[pa.Table] = field(default_factory=list)
    rejects: list[Part] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Slicer:
    """Everything a task needs to know of an ingest.

    Attributes:
        lake: Where parts are written.
        mapping: How to read the source.
        rates: Into the base currency.
        ingest_id: Stamped on every row.
        now: The time of the ingest.
        featurized: Dates whose features were computed before.
    """

    lake: Lake
    mapping: Mapping
    rates: Rates
    ingest_id: str
    now: datetime
    featurized: pa.Array

    def run(self, piece: Slice) -> Written:
        """Read a slice and write its rows."""
        written = Written(piece.path)
        row = piece.first_row
        for batch in read(piece, self.mapping.format):
            for applied in self._applied(batch, row):
                self._keep(applied, written)
            written.rows += batch.num_rows
            row += batch.num_rows
        return written

    def _applied(self, batch: pa.Table, first_row: int) -> list[Applied]:
        table, broken = batch, batch.slice(0, 0)
        if MALFORMED in batch.column_names:
            bad = pc.is_valid(batch.column(MALFORMED))
            broken = batch.filter(bad).select([MALFORMED])
            table = batch.filter(pc.invert(bad)).drop_columns([MALFORMED])
        found = []
        if table.num_rows:
            if self.mapping.kind == "labels":
                found.append(apply_labels(table, self.mapping, first_row=first_row))
            else:
                found.append(apply_transactions(table, self.mapping, self.rates, first_row=first_row))
        if broken.num_rows:
            faults = RowFaults(broken.num_rows)
            faults.add(np.ones(broken.num_rows, np.bool_), "malformed_row")
            refused = rejects(broken, faults, first_row + table.num_rows)
            found.append(Applied(pa.table({}), np.empty(0, np.int64), pa.table({}), refused))
        return found

    def _keep(self, applied: Applied, written: Written) -> None:
        if applied.rejects.num_rows:
            written.rejects.append(self.write_rejects(applied.rejects, written.path))
            written.reasons.update(applied.rejects.column("reason").to_pylist())
        if applied.labels.num_rows:
            written.labels.append(applied.labels)
        if applied.transactions.num_rows:
            self._keep_transactions(applied.transactions, applied.transaction_rows, written)

    def _keep_transactions(self, found: pa.Table, rows: NDArray[np.int64], written: Written) -> None:
        if self.mapping.columns.known_at is None and len(self.featurized):
            found, late = late_rows(found, self.featurized, self.now)
            written.late += late
        kind = schema.transactions(self.mapping.entities, attribute_types(self.mapping))
        stamped = found.append_column("ingest_id", pa.array([self.ingest_id] * found.num_rows, pa.string()))
        table = stamped.select(kind.names).cast(kind)
        days = np.asarray(table.column(schema.PARTITION).cast(pa.int32()).to_numpy())
        ties = np.asarray(table.column("tie").to_numpy(), np.int64)
        for part in self.lake.write_parts(schema.TRANSACTIONS, table):
            own = days == _epoch_day(part.event_date)
            written.parts.append(NewPart(written.path, part, ties[own], rows[own]))

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


def _epoch_day(day: date | None) -> int:
    return ((day or date.min) - date(1970, 1, 1)).days
