"""A slice of a source through its mapping, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa

from fraud.errors import SourceError
from fraud.jobs.source_columns import has_rows
from fraud.jobs.source_rows import Batch, Slice, read
from fraud.jobs.source_type import Source
from fraud.mapping.apply import Applied, apply_labels, apply_transactions
from fraud.mapping.faults import REASONS, masked_json
from fraud.mapping.spec import Mapping
from fraud.money import Rates

_READERS: Final = 8
"""Threads that look into files before the work begins; they mostly wait for them."""

_HEAD_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Mapped:
    """A batch of a file and what it is.

    Attributes:
        rows: Read, the malformed ones included.
        columns: That came up; a file of JSON lines may leave some out.
        found: Transactions, labels and refused rows.
    """

    rows: int
    columns: frozenset[str]
    found: tuple[Applied, ...]


def check_sources(
    sources: Sequence[Source], mapping: Mapping, rates: Rates, now: datetime, name: str
) -> None:
    """Find what is wrong with the sources as a whole before any work starts.

    Raises:
        SourceError: One is unreadable, or none has a row; ``name`` is what the user called them.
        SchemaError: One lacks a column, or its first rows show that the mapping cannot read it.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        filled = list(pool.map(lambda source: _check_source(source, mapping, rates, now), sources))
    if sources and not any(filled):
        raise SourceError(name, "there are no rows")


def _check_source(source: Source, mapping: Mapping, rates: Rates, now: datetime) -> bool:
    names, rows = source.head(mapping.format, _HEAD_ROWS)
    if rows is None or not has_rows(source, names, rows, mapping):
        return False
    head = Batch(rows, np.arange(rows.num_rows), sparse=source.sparse)
    for _ in applied(head, mapping, rates, now):
        pass
    return True


def read_mapped(piece: Slice, mapping: Mapping, rates: Rates, now: datetime) -> Iterator[Mapped]:
    """Read a slice and apply its mapping.

    Raises:
        SourceError: The file cannot be read.
        SchemaError: A column's type cannot hold what the mapping says, or naive times have no zone.
    """
    for batch in read(piece, mapping.format):
        rows = batch.table.num_rows + len(batch.malformed)
        columns = frozenset(batch.table.column_names)
        yield Mapped(rows, columns, tuple(applied(batch, mapping, rates, now)))


def applied(batch: Batch, mapping: Mapping, rates: Rates, now: datetime) -> Iterator[Applied]:
    """Apply a mapping to a batch; what could not be cut into fields is refused."""
    if batch.table.num_rows:
        table = _with_every_column(batch.table, mapping) if batch.sparse else batch.table
        if mapping.kind == "labels":
            yield apply_labels(table, batch.rows, mapping)
        else:
            yield apply_transactions(table, batch.rows, mapping, rates, now)
    if batch.malformed:
        numbers, texts = zip(*batch.malformed, strict=True)
        refused = {
            "row": pa.array(numbers, pa.int64()),
            "reason": pa.array(["malformed_row"] * len(numbers)),
            "detail": pa.array([REASONS["malformed_row"]] * len(numbers)),
            "raw": pa.array([masked_json({"line": text}) for text in texts]),
        }
        yield Applied(pa.table({}), np.empty(0, np.int64), pa.table({}), pa.table(refused))


def _with_every_column(table: pa.Table, mapping: Mapping) -> pa.Table:
    """A line of JSON may leave a key out: what no line of the batch has is null for all."""
    for column in mapping.source_columns():
        if column not in table.column_names:
            table = table.append_column(column, pa.nulls(table.num_rows, pa.string()))
    return table
