"""Whether a source has the columns that a mapping reads."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

from fraud.errors import SchemaError
from fraud.jobs.source_type import Source
from fraud.mapping.spec import Mapping
from fraud.mapping.yaml_file import close_match


def has_rows(source: Source, present: list[str], rows: pa.Table, mapping: Mapping) -> bool:
    """Check that the head of a source has what the mapping reads; return whether there are rows at all.

    Raises:
        SchemaError: Naming every missing column, and what comes close.
    """
    if source.sparse and rows.num_rows == 0:
        return False
    # A line of JSON may leave a key out: only after the whole file is a rarer column known to be missing.
    needed = required_columns(mapping) if source.sparse else read_columns(mapping)
    problems = missing_columns(needed, present, mapping)
    twice = [name for name, count in Counter(present).items() if count > 1 and name in needed]
    problems += [f"column {name!r} stands there twice" for name in twice]
    if problems:
        raise SchemaError(source.path, problems)
    return bool(rows.num_rows)


def read_columns(mapping: Mapping) -> tuple[str, ...]:
    """Return the columns a source must have."""
    optional = mapping.optional_columns()
    return tuple(column for column in mapping.source_columns() if column not in optional)


def required_columns(mapping: Mapping) -> tuple[str, ...]:
    """Return the columns without which no row can be a transaction (or label)."""
    core = mapping.columns
    return tuple(name for name in (core.transaction_id, core.event_time, core.amount) if name is not None)


def missing_columns(needed: tuple[str, ...], present: list[str], mapping: Mapping) -> list[str]:
    """Say of every needed column that is not present what is wrong."""
    problems = [
        f"column {column!r}, which the mapping {mapping.name} reads, is missing{close_match(column, present)}"
        for column in needed
        if column not in present
    ]
    if problems and len(present) == 1 and len(needed) > 1:
        problems.append(f"its only column is {present[0][:60]!r}: is format.separator right?")
    elif problems:
        problems.append(f"its columns: {', '.join(present[:40])}")
    return problems
