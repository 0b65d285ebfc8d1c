"""Which rows of an ingest are new: a known transaction id is skipped where equal, refused where not.

Ids are compared by their tie first, a 64-bit hash that every row carries, so an ingest without repeated ids
reads no other column of the lake. Rows of equal ties are read in full and compared column by column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.jobs.ingest_slice import NewPart
from fraud.storage.lake import Lake, Part

_READERS: Final = 4
"""Threads that read the ties of known rows; they mostly wait for files, and for Arrow to unpack them."""
_MARKS_A_TIE: Final = 16
_MOST_BITS: Final = 27
"""Of the marks by which known ties are sorted out: 128 MB."""

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_UNCOMPARED: Final = ("ingest_id", "known_at", "amount_base_minor", schema.PARTITION)
"""What may differ between two deliveries: when they came, and the rate an amount was converted at."""

_ROWS_AT_ONCE: Final = 1_000_000
"""Repeated ids compared at a time, so that delivering a large table again needs little memory."""


@dataclass(frozen=True, slots=True)
class Known:
    """Rows of one new part that are not new.

    Attributes:
        equal: Equal to the first row of that id, shape ``(rows of the part,)``.
        conflict: Different from it, shape ``(rows of the part,)``.
        stored: Equal rows that this ingest stored before it was cut short, shape ``(rows of the part,)``.
    """

    equal: Bools
    conflict: Bools
    stored: Bools

    @classmethod
    def none(cls, n: int) -> Known:
        """All n rows are new."""
        return cls(np.zeros(n, np.bool_), np.zeros(n, np.bool_), np.zeros(n, np.bool_))


def featurized(lake: Lake) -> frozenset[date]:
    """The days that have features: a transaction of such a day that comes now was not known then."""
    tables = [name for name in lake.tables() if name.startswith("features_")]
    return frozenset(part.event_date for name in tables for part in lake.parts(name) if part.event_date)


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A new part with repeated ids: its file's place in the order of files, and what is found out."""

    part: NewPart
    file: int
    known: Known


def find_known(lake: Lake, parts: Sequence[NewPart], files: Sequence[str]) -> Mapping[str, Known]:
    """Return the parts that hold rows which are not new, by the part's path.

    The first delivery of an id is the one that counts: the lake's, else the first in the order of ``files``
    and rows.
    """
    sought = Sought([part.ties for part in parts])
    old = parts_with(lake, sought) if parts else []
    repeated = np.unique(np.concatenate([sought.twice(), *(held.sought for held in old)]))
    rank = {path: place for place, path in enumerate(files)}
    suspects = [
        _Suspect(part, rank[part.path], Known.none(len(part.ties)))
        for part in parts
        if among(part.ties, repeated).any()
    ]
    for start in range(0, len(repeated), _ROWS_AT_ONCE):
        _compare_some(lake, repeated[start : start + _ROWS_AT_ONCE], old, suspects)
    return {
        suspect.part.part.path: suspect.known
        for suspect in suspects
        if (suspect.known.equal | suspect.known.conflict).any()
    }


def among(values: Ints, ascending: Ints) -> Bools:
    """Tell which values are among sorted ones; many small arrays are looked up in one large one."""
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.asarray(ascending[place] == values, np.bool_)


def rows_with(lake: Lake, ties: Ints, old: Sequence[Held], columns: Sequence[str]) -> pa.Table:
    """Read the lake's transactions of these ties, given in ascending order."""
    schema_of = lake.schema(schema.TRANSACTIONS)
    wanted = pa.schema([schema_of.field(column) for column in columns])
    tables = [wanted.empty_table()]
    for held in old:
        hits = among(held.ties, ties)
        if hits.any():
            table = lake.read_part(schema.TRANSACTIONS, held.part, wanted.names).filter(pa.array(hits))
            tables.append(table.select(wanted.names).cast(wanted))
    return pa.concat_tables(tables)


class Sought:
    """The ties of new rows, looked up in the many old ones, of which hardly any is among them.

    A mark by some of its bits sorts out all old ties but a few: a tie is a hash, so any bits will do.
    """

    def __init__(self, new: Sequence[Ints]) -> None:
        self._ties = np.sort(np.concatenate([np.empty(0, np.int64), *new]))
        bits = min(_MOST_BITS, (_MARKS_A_TIE * len(self._ties)).bit_length())
        self._mask = (1 << bits) - 1
        self._marks = np.zeros(self._mask + 1, np.bool_)
        self._marks[self._ties & self._mask] = True

    def twice(self) -> Ints:
        """Those that several new rows have."""
        return np.asarray(self._ties[1:][self._ties[1:] == self._ties[:-1]])

    def among(self, old: Ints) -> Ints:
        """Those of the old ties that a new row has too."""
        likely = old[self._marks[old & self._mask]]
        return np.asarray(likely[among(likely, self._ties)])


@dataclass(frozen=True, slots=True)
class Held:
    """A part of the lake that holds sought ties.

    Attributes:
        part: The part.
        ties: Of all its rows, shape ``(n,)``.
        sought: Those of them that are sought.
    """

    part: Part
    ties: Ints
    sought: Ints


def parts_with(lake: Lake, sought: Sought) -> list[Held]:
    """Return the parts of ``transactions`` that hold any of these ties."""
    if not lake.exists(schema.TRANSACTIONS):
        return []

    def look(part: Part) -> Held:
        column = lake.read_part(schema.TRANSACTIONS, part, ["tie"]).column("tie")
        ties = np.asarray(column.to_numpy(), np.int64)
        found = sought.among(ties)
        # What holds none is not kept: a lake has more ties than memory should.
        return Held(part, ties if len(found) else found, found)

    with ThreadPoolExecutor(_READERS) as pool:
        return [held for held in pool.map(look, lake.parts(schema.TRANSACTIONS)) if len(held.sought)]


def _compare_some(lake: Lake, ties: Ints, old: Sequence[Held], suspects: Sequence[_Suspect]) -> None:
    """Compare the rows of some repeated ties, and note in the suspects what they are."""
    masked = [(suspect, np.flatnonzero(among(suspect.part.ties, ties))) for suspect in suspects]
    masked = [(suspect, places) for suspect, places in masked if len(places)]
    if not masked:
        return
    new = pa.concat_tables(
        lake.read_part(schema.TRANSACTIONS, suspect.part.part).take(pa.array(places))
        for suspect, places in masked
    )
    rows = np.concatenate([suspect.part.rows[places] for suspect, places in masked])
    order = np.lexsort((rows, np.repeat([each.file for each, _ in masked], [len(at) for _, at in masked])))
    before = new.schema.empty_table()
    if old:
        before = rows_with(lake, ties, old, new.column_names).cast(new.schema)
    rows_of_ids = pa.concat_tables([before, new.take(pa.array(order))])
    origin, equal = compare(rows_of_ids)
    repeated = origin != np.arange(len(origin))
    found = Known.none(len(order))
    found.equal[order] = (repeated & equal)[before.num_rows :]
    found.conflict[order] = (repeated & ~equal)[before.num_rows :]
    found.stored[order] = found.equal[order] & _stored(rows_of_ids, origin, before.num_rows)
    start = 0
    for suspect, places in masked:
        for name in ("equal", "conflict", "stored"):
            getattr(suspect.known, name)[places] = getattr(found, name)[start : start + len(places)]
        start += len(places)


def _stored(rows: pa.Table, origin: Ints, before: int) -> Bools:
    """Which new rows are the first of an id that the lake has from the same ingest."""
    ingest = np.asarray(rows.column("ingest_id").combine_chunks().dictionary_encode().indices)
    _, first = np.unique(origin[before:], return_index=True)
    firsts = np.zeros(len(origin) - before, np.bool_)
    firsts[first] = True
    return np.asarray(firsts & (origin[before:] < before) & (ingest[before:] == ingest[origin[before:]]))


def compare(rows: pa.Table) -> tuple[Ints, Bools]:
    """Per row the place of the first row of its id, and whether it equals that.

    The endpoint knows no outcome but its own decline, and a file may not know that one: between a row of the
    endpoint and one of a file a missing status says nothing, and the time of a status is not compared. A file
    that comes later with another status than the endpoint's decline contradicts it.
    """
    codes = np.asarray(rows.column("transaction_id").combine_chunks().dictionary_encode().indices)
    _, first = np.unique(codes, return_index=True)
    origin = first[codes]
    equal = np.ones(len(codes), np.bool_)
    posted = np.asarray(pc.starts_with(rows.column("ingest_id"), schema.ENDPOINT))
    for name in rows.column_names:
        if name not in _UNCOMPARED:
            column = rows.column(name).combine_chunks()
            before = column.take(pa.array(origin))
            same = pc.or_kleene(pc.equal(column, before), pc.and_(pc.is_null(column), pc.is_null(before)))
            agrees = np.asarray(pc.fill_null(same, fill_value=False))
            if name == "status":
                unsaid = np.asarray(pc.or_(pc.is_null(column), pc.is_null(before)))
                agrees = agrees | posted | (posted[origin] & unsaid)
            elif name == "status_time":
                agrees = agrees | posted | posted[origin]
            equal &= agrees
    return origin, equal
