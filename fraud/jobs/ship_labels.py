"""Labels from the endpoint: joined with the transactions they label, which may come later than they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud import schema
from fraud.jobs.ingest_labels import repeated
from fraud.jobs.known import among
from fraud.mapping.ids import tie
from fraud.storage.lake import Lake, Part


@dataclass(frozen=True, slots=True)
class Joined:
    """What becomes of some labels.

    Attributes:
        fresh: Rows to write, with the columns of ``labels``.
        known: How many the lake has.
        refused: The places of those that contradict the lake, with the reason.
        waiting: The places of those whose transaction is not known.
    """

    fresh: pa.Table
    known: int
    refused: dict[int, str]
    waiting: list[int]


def join(lake: Lake, said: pa.Table, kind: pa.Schema, parts: Sequence[Part]) -> Joined:
    """Add event time and entities, and leave out what the lake has.

    Args:
        lake: With transactions and labels.
        said: See ``ship_records.labels``.
        kind: The columns of ``labels``.
        parts: Of ``transactions``, where to look for what is labelled.
    """
    columns = ["event_time", *(name for name in kind.names if name not in schema.labels([]).names)]
    ids = said.column("transaction_id").combine_chunks()
    found = _labelled(lake, ids, columns, parts)
    at = pc.index_in(ids, value_set=found.column("transaction_id").combine_chunks())
    waiting = np.flatnonzero(np.asarray(pc.is_null(at)))
    places = np.flatnonzero(np.asarray(pc.is_valid(at)))
    said, at = said.take(pa.array(places)), at.drop_null()
    for name in columns:
        said = said.append_column(name, found.column(name).take(at))
    early = np.asarray(pc.less(said.column("label_time"), said.column("event_time")))
    known, conflict = repeated(lake, said)
    conflict &= ~early
    refused = dict.fromkeys(places[early].tolist(), "label_before_event")
    refused |= dict.fromkeys(places[conflict].tolist(), "conflict")
    fresh = said.filter(pa.array(~(early | known | conflict)))
    return Joined(fresh.select(kind.names).cast(kind), int(known.sum()), refused, waiting.tolist())


def _labelled(lake: Lake, ids: pa.Array, columns: Sequence[str], parts: Sequence[Part]) -> pa.Table:
    """Return the transactions of these ids, looked for in the newest days first."""
    of_lake = lake.schema(schema.TRANSACTIONS)
    wanted = pa.schema([of_lake.field(name) for name in ("transaction_id", *columns)])
    ties, missing = np.unique(tie(ids)), len(pc.unique(ids))
    tables = [wanted.empty_table()]
    for part in reversed(parts):
        if not missing:
            break
        of_part = lake.read_part(schema.TRANSACTIONS, part, ["tie"]).column("tie").to_numpy()
        if among(np.asarray(of_part, np.int64), ties).any():
            table = lake.read_part(schema.TRANSACTIONS, part, wanted.names).select(wanted.names).cast(wanted)
            tables.append(table.filter(pc.is_in(table.column("transaction_id"), value_set=ids)))
            missing -= tables[-1].num_rows
    return pa.concat_tables(tables)
