"""Labels of an ingest: joined with the transactions they label, and each written once.

A label is known by its key (transaction, label time, source). What the lake has, or what an earlier row said,
is skipped where it says the same, and refused where it says otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.errors import TableNotFoundError
from fraud.jobs.known import Sought, parts_with, rows_with
from fraud.mapping.ids import tie
from fraud.mapping.labels import delay_us
from fraud.mapping.spec import Mapping
from fraud.storage.lake import Lake

_KEY: Final = ("transaction_id", "label_time", "source")

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of the labels of an ingest.

    Attributes:
        fresh: Rows to write, with the columns of ``schema.labels``.
        fresh_files: The file of each, shape ``(fresh,)``.
        known: Labels that the lake or an earlier row has, counted by file.
        refused: Of the others the reason, by file and row number.
    """

    fresh: pa.Table
    fresh_files: NDArray[np.int64]
    known: Counter[int]
    refused: dict[tuple[int, int], str]


def label_entities(lake: Lake) -> list[str]:
    """Return the entity columns that the lake's labels carry.

    Raises:
        TableNotFoundError: No transactions were ingested before.
    """
    if not lake.exists(schema.LABELS) or not lake.exists(schema.TRANSACTIONS):
        raise TableNotFoundError(
            schema.TRANSACTIONS, lake.uri, "ingest the transactions of these labels first"
        )
    plain = schema.labels([]).names
    return [name for name in lake.schema(schema.LABELS).names if name not in plain]


def settle(lake: Lake, said: pa.Table, mapping: Mapping, entities: Sequence[str], ingest_id: str) -> Settled:
    """Tell new labels from known ones and from those that cannot be written.

    Args:
        lake: With the transactions and labels of earlier ingests.
        said: The columns of ``Applied.labels`` and ``file``, in the order of files and rows.
        mapping: How the source was read.
        entities: The entity columns of the lake's labels.
        ingest_id: Stamped on every row.
    """
    kind = schema.labels(entities)
    if not said.num_rows:
        return Settled(kind.empty_table(), np.empty(0, np.int64), Counter(), {})
    refused: dict[tuple[int, int], str] = {}
    if mapping.kind == "labels":
        said, refused = _joined(lake, said, mapping, entities)
    known, conflict = repeated(lake, said)
    refused |= _named(said, conflict, "conflict")
    fresh = said.filter(pa.array(~(known | conflict)))
    stamped = fresh.append_column("ingest_id", pa.array([ingest_id] * fresh.num_rows, pa.string()))
    files = np.asarray(fresh.column("file").to_numpy(), np.int64)
    skipped = Counter(said.column("file").filter(pa.array(known)).to_pylist())
    return Settled(stamped.select(kind.names).cast(kind), files, skipped, refused)


def _joined(
    lake: Lake, said: pa.Table, mapping: Mapping, entities: Sequence[str]
) -> tuple[pa.Table, dict[tuple[int, int], str]]:
    """Add event time and entities from the transactions; refuse what labels none."""
    ids = said.column("transaction_id").combine_chunks()
    columns = ["transaction_id", "event_time", *entities]
    ties = np.unique(tie(ids))
    transactions = rows_with(lake, ties, parts_with(lake, Sought([ties])), columns).combine_chunks()
    place = pc.index_in(ids, transactions.column("transaction_id").combine_chunks())
    refused = _named(said, np.asarray(pc.is_null(place)), "unknown_transaction")
    said, place = said.filter(pc.is_valid(place)), place.drop_null()
    for column in columns[1:]:
        said = said.append_column(column, transactions.column(column).take(place))
    said = _dated(said, mapping)
    early = np.asarray(pc.less(said.column("label_time"), said.column("event_time")))
    refused |= _named(said, early, "label_before_event")
    return said.filter(pa.array(~early)), refused


def _dated(said: pa.Table, mapping: Mapping) -> pa.Table:
    """Add the assumed delay where a label has no time of its own, and the source's name."""
    labels = mapping.labels
    if labels is None:
        raise ValueError("the mapping declares no labels")
    at = said.column("label_time")
    delay = delay_us(labels)
    if delay is not None:
        assumed = pc.add(said.column("event_time").cast(pa.int64()), delay).cast(schema.TIME)
        at = pc.coalesce(at, assumed)
    named = said.set_column(said.schema.get_field_index("label_time"), "label_time", at)
    return named.append_column("source", pa.array([labels.source] * said.num_rows, pa.string()))


def repeated(lake: Lake, said: pa.Table) -> tuple[Bools, Bools]:
    """Per label whether it is known already, and whether what is known says otherwise.

    Args:
        lake: With the labels of before.
        said: At least ``transaction_id``, ``label_time``, ``source`` and ``is_fraud``, in order.
    """
    suspects = _suspects(lake, said)
    known, conflict = np.zeros(said.num_rows, np.bool_), np.zeros(said.num_rows, np.bool_)
    if not len(suspects):
        return known, conflict
    asked = said.take(pa.array(suspects)).select([*_KEY, "is_fraud"])
    first = dict(_said(_lake_labels(lake, asked)))
    for place, (key, is_fraud) in zip(suspects, _said(asked), strict=True):
        if key in first:
            known[place], conflict[place] = first[key] == is_fraud, first[key] != is_fraud
        else:
            first[key] = is_fraud
    return known, conflict


def _suspects(lake: Lake, said: pa.Table) -> NDArray[np.int64]:
    """Labels of transactions that are labelled more than once, here or in the lake: few, compared singly."""
    ids = said.column("transaction_id").combine_chunks()
    codes = np.asarray(ids.dictionary_encode().indices)
    suspect = np.bincount(codes)[codes] > 1
    if lake.exists(schema.LABELS):
        old = lake.read(schema.LABELS, columns=["transaction_id"]).column(0).combine_chunks()
        suspect |= np.asarray(pc.is_in(ids, value_set=old))
    return np.flatnonzero(suspect)


def _lake_labels(lake: Lake, asked: pa.Table) -> pa.Table:
    if not lake.exists(schema.LABELS):
        return asked.schema.empty_table()
    old = lake.read(schema.LABELS, columns=[*_KEY, "is_fraud"])
    ids = asked.column("transaction_id").combine_chunks()
    return old.filter(pc.is_in(old.column("transaction_id"), value_set=ids))


def _said(labels: pa.Table) -> Iterator[tuple[tuple[str, int, str], bool]]:
    """Key and answer of every label."""
    times = labels.column("label_time").cast(pa.int64()).to_pylist()
    ids, sources, frauds = (
        labels.column(name).to_pylist() for name in ("transaction_id", "source", "is_fraud")
    )
    return zip(zip(ids, times, sources, strict=True), frauds, strict=True)


def _named(said: pa.Table, mask: Bools, reason: str) -> dict[tuple[int, int], str]:
    some = said.filter(pa.array(mask))
    return dict.fromkeys(
        zip(some.column("file").to_pylist(), some.column("row").to_pylist(), strict=True), reason
    )
