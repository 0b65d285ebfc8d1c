"""Rows of the lake as rows of the mart: the columns that may leave, in types that every reader knows."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from fraud.mart.facts import PUBLISHED_AT
from fraud.mart.table import ARROW_TYPES, Table


def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of a table of the mart."""
    return pa.schema([pa.field(column.name, ARROW_TYPES[column.type]) for column in table.columns])


def columns(table: Table) -> list[str]:
    """The columns to read from the lake, and no others."""
    return [name for name in table.names if name != PUBLISHED_AT]


def leaving(rows: pa.Table, table: Table, published_at: datetime | None) -> pa.Table:
    """Return rows as they leave: lists as texts with commas, and when they were published.

    Args:
        rows: Of the lake, with at least ``columns(table)``.
        table: Where they go.
        published_at: The same for all of them; None in an export.
    """
    schema = arrow_schema(table)
    published = pa.array([published_at], schema.field(PUBLISHED_AT).type).take(
        pa.array([0] * rows.num_rows, pa.int32())
    )
    values = [published if name == PUBLISHED_AT else _flat(rows.column(name)) for name in schema.names]
    return pa.table(values, names=schema.names).cast(schema)


def _flat(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join(values, ",") if pa.types.is_list(values.type) else values
