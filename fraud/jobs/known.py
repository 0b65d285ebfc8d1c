"""Which rows of an ingest are new: a known transaction id is skipped where equal, refused where not.

Ids are compared by their tie first, a 64-bit hash that every row carries, so an ingest without repeated ids
compares integers only. Rows of equal ties are read in full and compared column by column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.jobs.ingest_slice import NewPart
from fraud.storage.lake import Lake

_UNCOMPARED = ("ingest_id", "known_at", schema.PARTITION)
"""What may differ between two deliveries of the same transaction."""


@dataclass(frozen=True, slots=True)
class Known:
    """Rows of one part that are not new.

    Attributes:
        part: The part.
        known: Equal to an earlier row of that id, shape ``(rows of the part,)``.
        conflict: Different from it, shape ``(rows of the part,)``.
        table: The part's rows.
    """

    part: NewPart
    known: NDArray[np.bool_]
    conflict: NDArray[np.bool_]
    table: pa.Table


def find_known(lake: Lake, parts: Sequence[NewPart]) -> list[Known]:
    """Return the parts that hold rows which are not new; the first delivery of an id is the one that counts.

    Args:
        lake: With the transactions of earlier ingests.
        parts: Of this one, in the order of files and rows.
    """
    suspects = _repeated_ties(lake, parts)
    if not len(suspects):
        return []
    affected = [(part, np.isin(part.ties, suspects)) for part in parts]
    affected = [(part, mask) for part, mask in affected if mask.any()]
    tables = [lake.read_part(schema.TRANSACTIONS, part.part) for part, _ in affected]
    new = pa.concat_tables(
        table.filter(pa.array(mask)) for table, (_, mask) in zip(tables, affected, strict=True)
    )
    old = (
        _rows_with(lake, suspects).cast(new.schema)
        if lake.exists(schema.TRANSACTIONS)
        else new.schema.empty_table()
    )
    repeated, equal = _compare(pa.concat_tables([old, new]))
    repeated, equal = repeated[old.num_rows :], equal[old.num_rows :]
    found: list[Known] = []
    start = 0
    for (part, mask), table in zip(affected, tables, strict=True):
        stop = start + int(mask.sum())
        known, conflict = np.zeros(len(mask), np.bool_), np.zeros(len(mask), np.bool_)
        known[mask] = repeated[start:stop] & equal[start:stop]
        conflict[mask] = repeated[start:stop] & ~equal[start:stop]
        if known.any() or conflict.any():
            found.append(Known(part, known, conflict, table))
        start = stop
    return found


def _repeated_ties(lake: Lake, parts: Sequence[NewPart]) -> NDArray[np.int64]:
    ties = [part.ties for part in parts]
    if lake.exists(schema.TRANSACTIONS):
        ties.append(
            np.asarray(lake.read(schema.TRANSACTIONS, columns=["tie"]).column("tie").to_numpy(), np.int64)
        )
    ordered = np.sort(np.concatenate([np.empty(0, np.int64), *ties]))
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _rows_with(lake: Lake, ties: NDArray[np.int64]) -> pa.Table:
    wanted = pa.array(ties)
    tables = [
        table.filter(pc.is_in(table.column("tie"), value_set=wanted))
        for table in (lake.read_part(schema.TRANSACTIONS, part) for part in lake.parts(schema.TRANSACTIONS))
    ]
    return pa.concat_tables(tables)


def _compare(rows: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Per row whether an earlier row has its id, and whether it equals the first one of that id."""
    codes = np.asarray(rows.column("transaction_id").combine_chunks().dictionary_encode().indices)
    _, first = np.unique(codes, return_index=True)
    origin = first[codes]
    equal = np.ones(len(codes), np.bool_)
    for name in rows.column_names:
        if name not in _UNCOMPARED:
            column = rows.column(name).combine_chunks()
            before = column.take(pa.array(origin))
            same = pc.or_kleene(pc.equal(column, before), pc.and_(pc.is_null(column), pc.is_null(before)))
            equal &= np.asarray(pc.fill_null(same, fill_value=False))
    return origin != np.arange(len(codes)), equal
