"""A small lake with all that the mart takes from one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from factories import label_table, random_history, transaction_table

from fraud import schema
from fraud.settings import MartSettings
from fraud.storage import alerts
from fraud.storage.lake import Lake

START = datetime(2024, 1, 1, tzinfo=UTC)
MATURITY_D = 7
SETTINGS = MartSettings()
OPTIONS: dict[str, Any] = {"label_maturity_d": MATURITY_D, "base_currency": "EUR"}


def score_table(
    transactions: pa.Table, *, model_version: str = "1", run_kind: str = "live", seed: int = 0
) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = [
        {
            "transaction_id": row["transaction_id"],
            "event_time": row["event_time"],
            "model_version": model_version,
            "run_kind": run_kind,
            "score": float(score),
            "probability": float(score),
            "decision": ("approve", "review", "decline")[min(2, int(score * 3))],
            "reasons": ["CARD_VELOCITY", "AMOUNT_HIGH"] if score > 0.3 else [],
            "model_digest": f"digest-{model_version}",
            "policy_version": "policy-1",
            "features_version": "f1",
            "scored_at": row["event_time"] + timedelta(hours=1),
            "run_id": "run",
            "event_date": row["event_date"],
        }
        for row, score in zip(transactions.to_pylist(), rng.random(transactions.num_rows), strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=schema.SCORES_SCHEMA)


def decision_table(transactions: pa.Table) -> pa.Table:
    rows = [
        {
            "transaction_id": row["transaction_id"],
            "event_time": row["event_time"],
            "decided_at": row["event_time"],
            "request": '{"card_id": "c-in-request"}',
            "amount_base_minor": row["amount_base_minor"],
            "features": [1.0],
            "score": None,
            "probability": None,
            "decision": "review",
            "reasons": ["FALLBACK"],
            "answer": "{}",
            "policy": "{}",
            "policy_version": "policy-2",
            "policy_digest": "d",
            "model_name": "fraud",
            "model_version": "2",
            "model_digest": "digest-2",
            "features_version": "f1",
            "code_version": "c",
            "caller": "k",
            "degraded": "deadline",
            "latency_us": 900,
            "shipped_at": row["event_time"],
            "event_date": row["event_date"],
        }
        for row in transactions.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=schema.DECISIONS_SCHEMA)


def fill(lake: Lake, *, n: int = 300, seed: int = 3) -> pa.Table:
    """Fill a lake; return its transactions, of which some were declined or reversed, later or at once."""
    transactions, labels = random_history(n, days=30, seed=seed, start=START)
    rng = np.random.default_rng(seed)
    rows = transactions.to_pylist()
    for row in rows:
        row["status"] = str(rng.choice(["settled", "declined", "reversed"], p=[0.8, 0.1, 0.1]))
        if rng.random() < 0.5:
            row["status_time"] = row["event_time"] + timedelta(days=int(rng.integers(12)), seconds=1)
        if rng.random() < 0.1:
            row["known_at"] = row["event_time"] + timedelta(days=int(rng.integers(1, 9)))
    transactions = transaction_table(rows)
    again = [{**row, "source": "analyst", "is_fraud": not row["is_fraud"]} for row in labels.to_pylist()[::4]]
    lake.append(schema.TRANSACTIONS, transactions)
    lake.append(schema.LABELS, labels)
    # Of labels of the same instant the source decides, whichever was written first.
    again += [{**row, "source": "Zeta", "is_fraud": not row["is_fraud"]} for row in labels.to_pylist()[1::4]]
    again += [
        {**row, "source": "chargeback", "is_fraud": not row["is_fraud"]} for row in labels.to_pylist()[2::4]
    ]
    lake.append(schema.LABELS, label_table(again[::-1]))
    lake.append(schema.SCORES, score_table(transactions))
    lake.append(schema.SCORES, score_table(transactions.slice(0, n // 2), model_version="2", seed=1))
    lake.append(schema.SCORES, score_table(transactions, model_version="3", run_kind="backfill", seed=2))
    lake.append(schema.DECISIONS, decision_table(transactions.slice(0, 20)))
    alerts.add(
        lake, alerts.Alert("model_refused", alerts.ERROR, "models:/fraud/3", "It is worse.", "1", "test")
    )
    return transactions
