"""Small tables for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from fraud import schema

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ENTITIES = ("card_id", "terminal_id")


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)


def transaction_table(
    rows: Sequence[Mapping[str, Any]],
    *,
    entities: Sequence[str] = ENTITIES,
    attributes: Mapping[str, pa.DataType] | None = None,
) -> pa.Table:
    """Rows of ``transactions``; each needs transaction_id and event_time, the rest has defaults."""
    attributes = attributes or {}
    whole = []
    for row in rows:
        event_time = row["event_time"]
        given = {
            "known_at": event_time,
            "kind": "purchase",
            "status": None,
            "status_time": None,
            "amount_minor": 1000,
            "currency": "EUR",
            "tie": schema.tie(row["transaction_id"]),
            "ingest_id": "test",
            **dict.fromkeys((*entities, *attributes)),
            **row,
        }
        given.setdefault("amount_base_minor", given["amount_minor"])
        given["event_date"] = event_time.date()
        whole.append(given)
    return pa.Table.from_pylist(whole, schema=schema.transactions(entities, attributes))


def label_table(rows: Sequence[Mapping[str, Any]], *, entities: Sequence[str] = ENTITIES) -> pa.Table:
    """Rows of ``labels``; each needs transaction_id, event_time, label_time."""
    defaults = {"source": "bank", "is_fraud": True, "fraud_type": None, "ingest_id": "test"}
    whole = [{**defaults, **dict.fromkeys(entities), **row} for row in rows]
    return pa.Table.from_pylist(whole, schema=schema.labels(entities))


def random_history(n: int, *, days: int, seed: int, start: datetime) -> tuple[pa.Table, pa.Table]:
    """Transactions of a few cards and terminals, and labels of a tenth of them a week later."""
    rng = np.random.default_rng(seed)
    transactions, labels = [], []
    for number in range(n):
        row = {
            "transaction_id": f"t{number}",
            # Half-hours make ties and hits on the windows' edges likely.
            "event_time": start + timedelta(minutes=30 * int(rng.integers(days * 48))),
            "card_id": f"c{rng.integers(12)}",
            "terminal_id": None if rng.random() < 0.05 else f"m{rng.integers(6)}",
            "amount_minor": int(rng.integers(100, 30_000)),
        }
        transactions.append(row)
        if rng.random() < 0.1:
            label = {key: row[key] for key in ("transaction_id", "event_time", *ENTITIES)}
            labels.append({**label, "label_time": row["event_time"] + timedelta(days=7)})
            if rng.random() < 0.3:
                labels.append(
                    {**label, "label_time": row["event_time"] + timedelta(days=9), "is_fraud": False}
                )
    return transaction_table(transactions), label_table(labels)
