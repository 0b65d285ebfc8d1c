"""Build the online state from the lake, as of a time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud import schema
from fraud.errors import TableNotFoundError
from fraud.features.online import EntityHistory, Label
from fraud.features.spec import FeatureSet
from fraud.jobs.exchange import scored_rows
from fraud.storage.lake import Lake
from fraud.storage.state import Remembered, create


def build(
    lake: Lake, feature_set: FeatureSet, path: Path, *, as_of: datetime | None = None
) -> dict[str, Any]:
    """Write a new online state with the facts known before a time, replacing the one at ``path``.

    Args:
        lake: Holds ``transactions`` and ``labels``.
        feature_set: What the state will serve.
        path: The state's folder; the old one serves until the new one is complete.
        as_of: Transactions before it and labels before it are in the state; None takes everything.

    Returns:
        ``as_of``, ``transactions``, ``labels``, ``entities``, ``path`` and ``seconds``.

    Raises:
        TableNotFoundError: There are no transactions.
    """
    started = time.monotonic()
    if not lake.exists(schema.TRANSACTIONS):
        raise TableNotFoundError(schema.TRANSACTIONS, lake.uri, "run `fraud ingest` first")
    until = as_of or _after_everything(lake)
    transactions = _transactions(lake, feature_set, until)
    labels = _labels(lake, feature_set, transactions, until)
    histories = {entity: dict(_histories(transactions, labels, entity)) for entity in feature_set.entities}
    building = path.with_name(path.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    create(
        building,
        feature_set,
        until,
        ((entity, value, history) for entity, kept in histories.items() for value, history in kept.items()),
        _remembered(transactions, feature_set.entities),
    )
    shutil.rmtree(path, ignore_errors=True)
    building.rename(path)
    return {
        "as_of": until.isoformat(),
        "transactions": transactions.num_rows,
        "labels": sum(len(said) for said in labels.values()),
        "entities": {entity: len(kept) for entity, kept in histories.items()},
        "path": str(path),
        "seconds": round(time.monotonic() - started, 3),
    }


def _after_everything(lake: Lake) -> datetime:
    newest = max(part.event_date or date.min for part in lake.parts(schema.TRANSACTIONS))
    return datetime(newest.year, newest.month, newest.day, tzinfo=UTC) + timedelta(days=1)


def _transactions(lake: Lake, feature_set: FeatureSet, until: datetime) -> pa.Table:
    """The scored transactions before a time that a window of a later transaction can reach, in time order."""
    columns = [
        "transaction_id",
        "kind",
        "event_time",
        "tie",
        "known_at",
        "amount_base_minor",
        *feature_set.entities,
    ]
    oldest = until - feature_set.history
    days = (oldest.date(), until.date() + timedelta(days=1))
    table = scored_rows(lake.read(schema.TRANSACTIONS, columns=columns, days=days))
    at = table.column("event_time")
    reachable = pc.and_(
        pc.less(at, pa.scalar(until, schema.TIME)), pc.greater(at, pa.scalar(oldest, schema.TIME))
    )
    return table.filter(reachable).sort_by([("event_time", "ascending"), ("tie", "ascending")])


def _labels(
    lake: Lake, feature_set: FeatureSet, transactions: pa.Table, until: datetime
) -> dict[str, list[Label]]:
    if not feature_set.fraud_entities or not lake.exists(schema.LABELS):
        return {}
    table = lake.read(schema.LABELS, columns=["transaction_id", "label_time", "source", "is_fraud"])
    known = pc.and_(
        pc.less(table.column("label_time"), pa.scalar(until, schema.TIME)),
        pc.is_in(
            table.column("transaction_id"), value_set=transactions.column("transaction_id").combine_chunks()
        ),
    )
    labels: dict[str, list[Label]] = {}
    kept = table.filter(known)
    for transaction_id, at, source, is_fraud in zip(
        kept.column("transaction_id").to_pylist(),
        kept.column("label_time").cast(pa.int64()).to_pylist(),
        kept.column("source").to_pylist(),
        kept.column("is_fraud").to_pylist(),
        strict=True,
    ):
        labels.setdefault(transaction_id, []).append((at, source, is_fraud))
    return labels


def _histories(
    transactions: pa.Table, labels: dict[str, list[Label]], entity: str
) -> Iterator[tuple[str, EntityHistory]]:
    rows = transactions.filter(pc.is_valid(transactions.column(entity)))
    encoded = rows.column(entity).combine_chunks().dictionary_encode()
    codes = np.asarray(encoded.indices)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
    columns = [
        np.asarray(rows.column(name).cast(pa.int64()).to_numpy(), np.int64)[order]
        for name in ("event_time", "tie", "known_at", "amount_base_minor")
    ]
    ids = np.asarray(rows.column("transaction_id").to_pylist(), dtype=object)[order]
    for value, begin, end in zip(encoded.dictionary.to_pylist(), bounds, bounds[1:], strict=False):
        event_time, tie, known_at, amount = (column[begin:end] for column in columns)
        said = {
            (int(event_time[position]), int(tie[position])): tuple(labels[transaction_id])
            for position, transaction_id in enumerate(ids[begin:end])
            if transaction_id in labels
        }
        yield value, EntityHistory(event_time, tie, known_at, amount, said)


def _remembered(transactions: pa.Table, entities: tuple[str, ...]) -> Iterator[tuple[str, Remembered]]:
    columns = [transactions.column("transaction_id").to_pylist()]
    columns += [transactions.column(name).cast(pa.int64()).to_pylist() for name in ("event_time", "tie")]
    columns += [transactions.column(entity).to_pylist() for entity in entities]
    for transaction_id, at, tie, *values in zip(*columns, strict=True):
        present = {entity: value for entity, value in zip(entities, values, strict=True) if value is not None}
        yield transaction_id, Remembered(at, tie, present)
