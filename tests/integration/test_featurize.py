"""Featurize on a local Ray: equal to the naive oracle, incremental, idempotent."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from factories import micros, random_history, transaction_table
from naive import Event, naive_window

from fraud.errors import SchemaError, TableNotFoundError
from fraud.features.spec import FeatureSet, load, load_text
from fraud.jobs import featurize
from fraud.settings import FeatureSettings
from fraud.storage.lake import Lake

pytestmark = pytest.mark.ray

START = datetime(2020, 1, 1, tzinfo=UTC)
HANDBOOK = load("handbook", Path(__file__).parents[2] / "configs" / "features")


def expected(
    feature_set: FeatureSet, transactions: pa.Table, labels: pa.Table
) -> dict[str, dict[str, float]]:
    said: dict[str, list[tuple[int, str, bool]]] = {}
    for row in labels.to_pylist():
        said.setdefault(row["transaction_id"], []).append(
            (micros(row["label_time"]), row["source"], row["is_fraud"])
        )
    rows = transactions.to_pylist()
    values: dict[str, dict[str, float]] = {row["transaction_id"]: {} for row in rows}
    for entity in feature_set.entities:
        events = [
            Event(
                row["transaction_id"],
                row[entity],
                micros(row["event_time"]),
                row["tie"],
                micros(row["known_at"]),
                row["amount_base_minor"],
                tuple(said.get(row["transaction_id"], ())),
            )
            for row in rows
        ]
        for window in feature_set.windows:
            for event in events if window.window == entity else []:
                values[event.id] |= naive_window(window, events, event)
    return values


def assert_equal_to_oracle(
    feature_set: FeatureSet, lake: Lake, transactions: pa.Table, labels: pa.Table
) -> None:
    table = lake.read(feature_set.table)
    oracle = expected(feature_set, transactions, labels)
    assert sorted(table.column("transaction_id").to_pylist()) == sorted(oracle)
    for row in table.to_pylist():
        for name, value in oracle[row["transaction_id"]].items():
            np.testing.assert_equal(row[name], value, err_msg=f"{row['transaction_id']} {name}")


def test_features_of_two_runs_equal_the_oracle(ray_cluster, lake, monkeypatch):
    monkeypatch.setattr(featurize, "_GROUP_ROWS", 60)
    transactions, labels = random_history(700, days=60, seed=3, start=START)
    lake.append("labels", labels)
    early = pc.less(transactions.column("event_date"), pa.scalar(date(2020, 2, 10)))
    lake.append("transactions", transactions.filter(early))
    first = featurize.run(lake, HANDBOOK, FeatureSettings(partitions=3))
    lake.append("transactions", transactions.filter(pc.invert(early)))
    second = featurize.run(lake, HANDBOOK, FeatureSettings(partitions=2))
    assert (first["transactions"] + second["transactions"], first["transactions"] > 300) == (700, True)
    assert_equal_to_oracle(HANDBOOK, lake, transactions, labels)


def test_featurize_again_adds_nothing(ray_cluster, lake):
    transactions, _ = random_history(50, days=3, seed=4, start=START)
    lake.append("transactions", transactions)
    featurize.run(lake, HANDBOOK, FeatureSettings(partitions=1))
    again = featurize.run(lake, HANDBOOK, FeatureSettings(partitions=1))
    assert (again["transactions"], again["committed_version"]) == (0, None)
    assert lake.read(HANDBOOK.table).num_rows == 50


def test_feature_set_without_windows_needs_no_entities(ray_cluster, lake):
    rows = [{"transaction_id": "a", "event_time": START, "shop": "x", "age": 3.0}]
    attributes = {"shop": pa.string(), "age": pa.float64()}
    lake.append("transactions", transaction_table(rows, entities=(), attributes=attributes))
    features = load_text(
        "{format_version: 1, name: own, time_zone: Europe/Berlin, features: [{column: age}, {calendar: hour},"
        " {categorical: shop, values: [y, x]}]}",
        "own",
    )
    featurize.run(lake, features, FeatureSettings())
    (row,) = lake.read(features.table, columns=features.names).to_pylist()
    assert row == {"age": 3.0, "hour": 1.0, "shop": 1.0}


def test_refunds_get_no_features_and_enter_no_windows(ray_cluster, lake):
    rows = [
        {"transaction_id": "a", "event_time": START, "card_id": "c", "kind": "refund"},
        {"transaction_id": "b", "event_time": START.replace(hour=1), "card_id": "c"},
    ]
    lake.append("transactions", transaction_table(rows))
    featurize.run(lake, HANDBOOK, FeatureSettings(partitions=1))
    (row,) = lake.read(HANDBOOK.table).to_pylist()
    assert (row["transaction_id"], row["card_id_count_1d"]) == ("b", 1.0)


def test_missing_column_is_refused_before_anything_is_written(lake):
    rows = [{"transaction_id": "a", "event_time": START}]
    lake.append("transactions", transaction_table(rows, entities=("card_id",)))
    with pytest.raises(SchemaError, match="terminal_id"):
        featurize.run(lake, HANDBOOK, FeatureSettings())
    assert not lake.exists(HANDBOOK.table)


def test_empty_lake_is_refused(lake):
    with pytest.raises(TableNotFoundError, match="fraud ingest"):
        featurize.run(lake, HANDBOOK, FeatureSettings())
