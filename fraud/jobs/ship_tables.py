"""What of some journal records a table lacks, and what contradicts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud import schema
from fraud.jobs import ship_labels, ship_records
from fraud.jobs.known import Bools, Ints, among, compare, featurized
from fraud.jobs.ship_records import Entry
from fraud.mapping.faults import REASONS
from fraud.mapping.ids import masked, tie
from fraud.storage.lake import Lake, Part


@dataclass(frozen=True, slots=True)
class New:
    """What becomes of some records.

    Attributes:
        rows: For the table.
        known: How many it has.
        refused: Those that contradict it, with the reason.
        waiting: Those that cannot be written yet.
        unread: Values that the table has no column for.
    """

    rows: pa.Table
    known: int = 0
    refused: tuple[tuple[Entry, str], ...] = ()
    waiting: tuple[Entry, ...] = ()
    unread: int = 0


def decisions(had: Had, entries: Sequence[Entry]) -> New:
    """Of each id the first decision; another answer of the same id is a conflict."""
    rows = ship_records.decisions(entries, datetime.now(UTC))
    before = had(schema.DECISIONS, rows, ["transaction_id", "answer"])
    all_rows = pa.concat_tables([before, rows.select(before.column_names)])
    first = _first(all_rows.column("transaction_id"))
    place = np.arange(len(first))
    answers = all_rows.column("answer").combine_chunks()
    same = np.asarray(pc.equal(answers, answers.take(pa.array(first))))
    repeated, same = (first != place)[before.num_rows :], same[before.num_rows :]
    return _new(rows, entries, repeated & same, repeated & ~same)


def transactions(lake: Lake, had: Had, entries: Sequence[Entry]) -> New:
    """Of each id the first, the lake's before any other; see ``known.compare``."""
    kind = lake.schema(schema.TRANSACTIONS)
    rows, unread = ship_records.transactions(entries, kind, featurized(lake))
    before = had(schema.TRANSACTIONS, rows, rows.column_names)
    origin, equal = compare(pa.concat_tables([before, rows]))
    repeated = origin != np.arange(len(origin))
    repeated, equal = repeated[before.num_rows :], equal[before.num_rows :]
    new = _new(rows, entries, repeated & equal, repeated & ~equal)
    in_order = new.rows.sort_by([("event_time", "ascending"), ("tie", "ascending")])
    return New(in_order, new.known, new.refused, unread=unread)


def labels(lake: Lake, entries: Sequence[Entry], parts: Sequence[Part]) -> New:
    """Labels of transactions that are in these files, each once."""
    found = ship_labels.join(lake, ship_records.labels(entries), lake.schema(schema.LABELS), parts)
    refused = tuple((entries[place], reason) for place, reason in found.refused.items())
    return New(found.fresh, found.known, refused, tuple(entries[place] for place in found.waiting))


def shadows(had: Had, entries: Sequence[Entry]) -> New:
    """Of each transaction and model the first."""
    rows = ship_records.shadows(entries)
    before = had(schema.SCORES, rows, ["transaction_id", "model_version", "run_kind"])
    before = before.filter(pc.equal(before.column("run_kind"), schema.SHADOW))
    keys = pa.concat_tables([before, rows.select(before.column_names)])
    joined = pc.binary_join_element_wise(keys.column("transaction_id"), keys.column("model_version"), "\0")
    first = _first(joined)
    repeated = (first != np.arange(len(first)))[before.num_rows :]
    return _new(rows, entries, repeated, np.zeros(len(repeated), np.bool_))


def rejects(refused: Sequence[tuple[Entry, str]]) -> New:
    """Rows of ``rejects``; ``row`` is the offset in the segment after the record."""
    rows = [
        {
            "source": entry.segment,
            "row": entry.offset,
            "reason": reason,
            "detail": REASONS[reason],
            "raw": masked(entry.raw.decode()),
            "ingest_id": entry.ingest_id,
            "rejected_at": datetime.now(UTC),
        }
        for entry, reason in refused
    ]
    return New(pa.Table.from_pylist(rows, schema=schema.REJECTS_SCHEMA))


def _new(rows: pa.Table, entries: Sequence[Entry], known: Bools, conflict: Bools) -> New:
    refused = tuple((entries[place], "conflict") for place in np.flatnonzero(conflict).tolist())
    return New(rows.filter(pa.array(~(known | conflict))), int(known.sum()), refused)


class Had:
    """What tables have of some ids; the ids of the days that were asked for last are remembered as ties."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._ties: dict[str, dict[str, Ints]] = {}

    def __call__(self, name: str, rows: pa.Table, columns: Sequence[str]) -> pa.Table:
        """Read what a table has of the same ids, in the partitions of these rows.

        Args:
            name: The table.
            rows: With ``transaction_id`` and ``event_date``.
            columns: What to read, ``transaction_id`` among it.
        """
        days = set(pc.unique(rows.column(schema.PARTITION)).to_pylist())
        ids = pc.unique(rows.column("transaction_id"))
        of_table = self._lake.schema(name)
        wanted = pa.schema([of_table.field(column) for column in columns])
        parts = [part for part in self._lake.parts(name) if part.event_date in days]
        before = self._ties.get(name, {})
        self._ties[name] = {
            part.path: before[part.path] if part.path in before else self._read_ties(name, part)
            for part in parts
        }
        asked = np.unique(tie(ids))
        tables = [wanted.empty_table()]
        for part in parts:
            if among(self._ties[name][part.path], asked).any():
                table = self._lake.read_part(name, part, columns).select(columns).cast(wanted)
                tables.append(table.filter(pc.is_in(table.column("transaction_id"), value_set=ids)))
        return pa.concat_tables(tables)

    def _read_ties(self, name: str, part: Part) -> Ints:
        return tie(self._lake.read_part(name, part, ["transaction_id"]).column("transaction_id"))


def _first(values: pa.ChunkedArray) -> Ints:
    """Return the place of the first equal value of each, shape ``(n,)``."""
    codes = np.asarray(values.combine_chunks().dictionary_encode().indices)
    _, first = np.unique(codes, return_index=True)
    return np.asarray(first[codes], np.int64)
