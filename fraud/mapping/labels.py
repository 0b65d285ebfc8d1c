"""The labels that rows of a source carry."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.mapping.faults import Faults
from fraud.mapping.source_times import read_mapped_times, refuse_times
from fraud.mapping.spec import Labels, Mapping
from fraud.mapping.text import Bools, bools, text

NO_LABELS: Final = pa.table({})

_DAY_US: Final = 86_400_000_000


def delay_us(labels: Labels) -> int | None:
    """Return the assumed delay from event to label in microseconds, None where every label is dated."""
    return None if labels.delay_d is None else round(labels.delay_d * _DAY_US)


def read_labels(table: pa.Table, mapping: Mapping, event_time: pa.Array | None, faults: Faults) -> pa.Table:
    """Read is_fraud, label_time and fraud_type of every row.

    Args:
        table: Rows under the source's column names.
        mapping: One with labels.
        event_time: Of the same rows; None in a file of labels, whose assumed times stay null.
        faults: Takes the rows whose label cannot be read.

    Returns:
        One row per row; ``is_fraud`` is null where the row says nothing (or, with ``genuine: presumed``,
        nothing of fraud).
    """
    labels = _declared(mapping)
    is_fraud = _is_fraud(table, labels, mapping)
    at = _label_times(table, mapping, event_time, faults, matters=bools(pc.is_valid(is_fraud)))
    fraud_type = pa.nulls(table.num_rows, pa.string())
    if labels.fraud_type is not None:
        fraud_type = _of_frauds(table.column(labels.fraud_type), is_fraud, mapping)
    return pa.table({"is_fraud": is_fraud, "label_time": at, "fraud_type": fraud_type})


def said_of_transactions(
    accepted: pa.Table, labels: pa.Table, rows: NDArray[np.int64], mapping: Mapping
) -> pa.Table:
    """Return the labels of accepted rows as rows of their own.

    Returns:
        transaction_id, event_time, label_time, source, is_fraud, fraud_type, the entities, and ``row``.
    """
    said = labels.column("is_fraud").is_valid()
    accepted, labels, rows = accepted.filter(said), labels.filter(said), rows[bools(said.combine_chunks())]
    columns: dict[str, Any] = {
        "transaction_id": accepted.column("transaction_id"),
        "event_time": accepted.column("event_time"),
        "label_time": labels.column("label_time"),
        "source": pa.repeat(_declared(mapping).source, accepted.num_rows),
        "is_fraud": labels.column("is_fraud"),
        "fraud_type": labels.column("fraud_type"),
        "row": pa.array(rows, pa.int64()),
    }
    return pa.table(columns | {entity: accepted.column(entity) for entity in mapping.entities})


def _declared(mapping: Mapping) -> Labels:
    if mapping.labels is None:
        raise ValueError("the mapping declares no labels")
    return mapping.labels


def _is_fraud(table: pa.Table, labels: Labels, mapping: Mapping) -> pa.Array:
    if labels.column is None:
        return pa.array(np.ones(table.num_rows, dtype=bool))
    value = pc.utf8_lower(text(table.column(labels.column), mapping.format.null_values))
    wanted = pa.array([each.lower() for each in labels.fraud_values], pa.string())
    is_fraud = pc.is_in(value, value_set=wanted)
    silent = pc.invert(is_fraud) if labels.genuine == "presumed" else pc.is_null(value)
    return pc.if_else(silent, pa.scalar(None, pa.bool_()), is_fraud)


def _of_frauds(column: pa.ChunkedArray, is_fraud: pa.Array, mapping: Mapping) -> pa.Array:
    """The texts of the frauds, null elsewhere: they are few."""
    frauds = np.flatnonzero(bools(is_fraud))
    stated = text(column.take(pa.array(frauds)), mapping.format.null_values)
    places = np.full(len(is_fraud), -1)
    places[frauds] = np.arange(len(frauds))
    return stated.take(pa.array(places, mask=places < 0))


def _label_times(
    table: pa.Table, mapping: Mapping, event_time: pa.Array | None, faults: Faults, *, matters: Bools
) -> pa.Array:
    labels = _declared(mapping)
    delay = delay_us(labels)
    assumed = pa.nulls(table.num_rows, schema.TIME)
    if event_time is not None and delay is not None:
        assumed = pc.add(event_time.cast(pa.int64()), delay).cast(schema.TIME)
    column = labels.time_column
    if column is None or column not in table.column_names:
        return assumed
    reading = read_mapped_times(table, column, mapping)
    refuse_times(reading, column, faults)
    if delay is None:
        faults.add(reading.missing & matters, "missing_label_time", column)
    stated = pa.array(reading.microseconds).cast(schema.TIME)
    at = pc.if_else(pa.array(reading.missing), assumed, stated)
    if event_time is not None:
        faults.add(bools(pc.less(at, event_time)) & matters, "label_before_event", column)
    return at
