"""A small lake with features and labels, and a bundle that needs no training run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import xgboost as xgb

from fraud import schema
from fraud.features import spec
from fraud.features.spec import FeatureSet
from fraud.model import bundle, calibration, histogram
from fraud.model.bundle import Bundle
from fraud.storage.lake import Lake

START = datetime(2026, 3, 1, tzinfo=UTC)
FEATURE_SET = spec.load_text(
    """
format_version: 1
name: small
time_zone: UTC
features:
  - column: amount
  - calendar: night
    hours: [0, 6]
  - window: card_id
    of: amount
    stats: [count]
    spans: [1d]
""",
    "test",
)


def make_lake(
    lake: Lake,
    *,
    days: int,
    per_day: int = 50,
    first_day: int = 0,
    kind: str = "purchase",
    labels: bool = True,
    features: bool = True,
) -> list[str]:
    """Append days of transactions and return their ids; above 9000 is fraud, labelled 7 days later."""
    rows = [(day, row) for day in range(first_day, first_day + days) for row in range(per_day)]
    ids = [f"{kind}-{day}-{row}" for day, row in rows]
    times = [START + timedelta(days=day, minutes=13 * row) for day, row in rows]
    amounts = np.random.default_rng(first_day).integers(100, 10_000, len(rows))
    # Whatever is drawn, every day has both classes.
    amounts[::per_day], amounts[1::per_day] = 9_500, 200
    _append_transactions(lake, ids, times, amounts, kind)
    if features:
        append_features(lake, ids, times, amounts)
    if labels:
        _append_labels(lake, ids, times, amounts)
    return ids


def append_features(lake: Lake, ids, times, amounts) -> None:
    values = {
        "amount": amounts.astype(np.float64),
        "is_night": np.array([float(time.hour <= 6) for time in times]),
        "card_id_count_1d": np.arange(len(ids), dtype=np.float64) % 5,
    }
    own = {"transaction_id": ids, "event_time": times, "history_complete": [True] * len(ids)}
    table = {**own, **values, "event_date": [t.date() for t in times]}
    lake.append(FEATURE_SET.table, pa.table(table, schema.features(FEATURE_SET.names)))


def _append_transactions(lake: Lake, ids, times, amounts, kind: str) -> None:
    n = len(ids)
    table = {
        "transaction_id": ids,
        "event_time": times,
        "known_at": times,
        "kind": [kind] * n,
        "status": [None] * n,
        "status_time": [None] * n,
        "amount_minor": amounts,
        "currency": ["EUR"] * n,
        "amount_base_minor": amounts,
        "tie": list(range(n)),
        "card_id": [f"card-{row % 10}" for row in range(n)],
        "ingest_id": ["test"] * n,
        "event_date": [time.date() for time in times],
    }
    lake.append(schema.TRANSACTIONS, pa.table(table, schema.transactions(["card_id"], {})))


def _append_labels(lake: Lake, ids, times, amounts) -> None:
    frauds = [row for row, amount in enumerate(amounts) if amount > 9000]
    table = {
        "transaction_id": [ids[row] for row in frauds],
        "event_time": [times[row] for row in frauds],
        "label_time": [times[row] + timedelta(days=7) for row in frauds],
        "source": ["test"] * len(frauds),
        "is_fraud": [True] * len(frauds),
        "fraud_type": [None] * len(frauds),
        "card_id": [f"card-{row % 10}" for row in frauds],
        "ingest_id": ["test"] * len(frauds),
    }
    lake.append(schema.LABELS, pa.table(table, schema.labels(["card_id"])))


def make_bundle(
    folder: Path,
    *,
    seed: int = 0,
    blind: bool = False,
    trained_d: int | None = None,
    feature_set: FeatureSet = FEATURE_SET,
) -> Bundle:
    """Train a small booster on made-up rows (frauds are large amounts) and save it as a bundle.

    Args:
        folder: Where to.
        seed: Of the rows.
        blind: Learn a truth that has nothing to do with the rows.
        trained_d: Days of the factories' lake that it says it was trained and calibrated on.
        feature_set: Of three features.
    """
    rng = np.random.default_rng(seed)
    matrix = np.column_stack(
        [rng.integers(100, 10_000, 600), rng.integers(0, 2, 600), rng.integers(0, 5, 600)]
    )
    matrix = matrix.astype(np.float32)
    truth = matrix[:, 0] > 9000
    if blind:
        truth = rng.permutation(truth)
    booster = xgb.train(
        {"max_depth": 2, "objective": "binary:logistic", "base_score": 0.5, "seed": seed},
        xgb.DMatrix(matrix, truth.astype(float)),
        10,
    )
    scores = booster.inplace_predict(matrix).astype(np.float64)
    reference = {name: histogram.build(matrix[:, at]) for at, name in enumerate(feature_set.names)}
    bundle.save(
        folder,
        booster=booster,
        feature_set=feature_set,
        calibration=calibration.fit(scores, truth),
        reference={**reference, bundle.SCORE: histogram.build(scores)},
        golden_rows=bundle.golden_rows(reference, feature_set.names),
        metadata={"data_version": {"transactions": 3}, "seed": seed, **_split(trained_d)},
    )
    return bundle.load(folder)


def _split(days: int | None) -> dict:
    if days is None:
        return {}
    first, middle, last = (str((START + timedelta(days=day)).date()) for day in (0, days - 3, days))
    return {"split": {"train": [first, middle], "calibration": [middle, last]}}
