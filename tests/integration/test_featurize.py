"""Featurize over real Delta tables, in the job's own threads and as Ray tasks: exact, incremental, atomic."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from factories import label_table, micros, random_history, transaction_table

from fraud.errors import ChangedMeanwhileError, SchemaError, TableNotFoundError
from fraud.features.definition import Event, naive_window
from fraud.features.spec import FeatureSet, load, load_text
from fraud.jobs import featurize, in_threads
from fraud.settings import FeatureSettings
from fraud.storage.lake import Lake

START = datetime(2020, 1, 1, tzinfo=UTC)
HANDBOOK = load("handbook", Path(__file__).parents[2] / "configs" / "features")
HERE = FeatureSettings(group_rows=60, partition_rows=100, wave_rows=100)
TASKS = FeatureSettings(group_rows=100, partition_rows=300, wave_rows=200, here_rows=0)


@pytest.fixture(params=[HERE, pytest.param(TASKS, marks=pytest.mark.ray)], ids=["threads", "tasks"])
def settings(request) -> FeatureSettings:
    if request.param is TASKS:
        request.getfixturevalue("ray_cluster")
    return request.param


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
        for window in feature_set.keys[entity]:
            for event in events:
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


def by_id(lake: Lake, feature_set: FeatureSet = HANDBOOK) -> dict[str, tuple]:
    table = lake.read(feature_set.table).drop_columns(["event_date"])
    return {row["transaction_id"]: tuple(row.values()) for row in table.to_pylist()}


def assert_equal_to_full_computation(lake: Lake, other: Lake) -> None:
    """The same tables, featurized at once, give the same features."""
    for name in ("transactions", "labels"):
        if lake.exists(name):
            other.append(name, lake.read(name))
    featurize.run(other, HANDBOOK, HERE)
    np.testing.assert_equal(by_id(lake), by_id(other))


@pytest.fixture
def other(tmp_path) -> Lake:
    return Lake(str(tmp_path / "other"))


def test_features_of_two_runs_equal_the_oracle(settings, lake):
    transactions, labels = random_history(250, days=60, seed=3, start=START)
    lake.append("labels", labels)
    early = pc.less(transactions.column("event_date"), pa.scalar(date(2020, 2, 10)))
    lake.append("transactions", transactions.filter(early))
    first = featurize.run(lake, HANDBOOK, settings)
    lake.append("transactions", transactions.filter(pc.invert(early)))
    second = featurize.run(lake, HANDBOOK, settings)
    assert (first["transactions"] + second["transactions"], first["transactions"] > 100) == (250, True)
    assert_equal_to_oracle(HANDBOOK, lake, transactions, labels)


def test_second_run_reads_no_file_that_no_window_reaches(lake, monkeypatch):
    transactions, _ = random_history(300, days=90, seed=8, start=START)
    last = pc.greater_equal(transactions.column("event_date"), pa.scalar(date(2020, 3, 29)))
    lake.append("transactions", transactions.filter(pc.invert(last)))
    featurize.run(lake, HANDBOOK, HERE)
    lake.append("transactions", transactions.filter(last))
    read = []
    monkeypatch.setattr(in_threads.steps, "cut", lambda work, group, cut=in_threads.steps.cut: (
        read.extend(file.part.event_date for file in group.files), cut(work, group))[1])  # fmt: skip
    featurize.run(lake, HANDBOOK, HERE)
    # 30 days end 7 days before the transaction: 37 days before 29 March.
    assert min(read) >= date(2020, 2, 21)


def test_featurize_again_adds_nothing(settings, lake):
    transactions, _ = random_history(50, days=3, seed=4, start=START)
    lake.append("transactions", transactions)
    featurize.run(lake, HANDBOOK, settings)
    again = featurize.run(lake, HANDBOOK, settings)
    assert (again["transactions"], again["recomputed"], again["committed_version"]) == (0, 0, None)
    assert lake.read(HANDBOOK.table).num_rows == 50


def test_label_delivered_after_its_label_time_changes_what_later_rows_saw(settings, lake, other):
    transactions, labels = random_history(300, days=40, seed=5, start=START)
    lake.append("transactions", transactions)
    lake.append("labels", labels.slice(0, labels.num_rows // 2))
    featurize.run(lake, HANDBOOK, settings)
    before = by_id(lake)
    lake.append("labels", labels.slice(labels.num_rows // 2))
    done = featurize.run(lake, HANDBOOK, settings)
    assert done["transactions"] == 0
    assert done["recomputed"] > 0
    assert by_id(lake) != before
    assert_equal_to_full_computation(lake, other)


def test_withdrawn_label_delivered_late_is_taken_back(lake, other):
    rows = [
        {
            "transaction_id": str(day),
            "event_time": START + timedelta(days=day),
            "card_id": "c",
            "terminal_id": "t",
        }
        for day in range(30)
    ]
    lake.append("transactions", transaction_table(rows))
    fraud = {"transaction_id": "0", "event_time": START, "card_id": "c", "terminal_id": "t"}
    lake.append("labels", label_table([{**fraud, "label_time": START + timedelta(days=7)}]))
    featurize.run(lake, HANDBOOK, HERE)
    assert by_id(lake)["20"][-1] > 0
    withdrawn = {**fraud, "label_time": START + timedelta(days=15), "is_fraud": False}
    lake.append("labels", label_table([withdrawn]))
    featurize.run(lake, HANDBOOK, HERE)
    assert (by_id(lake)["14"][-1] > 0, by_id(lake)["20"][-1]) == (True, 0)
    assert_equal_to_full_computation(lake, other)


def test_file_of_an_earlier_day_that_comes_out_of_order_changes_later_rows(lake, other):
    transactions, labels = random_history(300, days=40, seed=6, start=START)
    lake.append("labels", labels)
    missing = pc.equal(transactions.column("event_date"), pa.scalar(date(2020, 1, 20)))
    lake.append("transactions", transactions.filter(pc.invert(missing)))
    featurize.run(lake, HANDBOOK, HERE)
    lake.append("transactions", transactions.filter(missing))
    done = featurize.run(lake, HANDBOOK, HERE)
    assert done["transactions"] == transactions.filter(missing).num_rows
    assert done["recomputed"] > 0
    assert_equal_to_full_computation(lake, other)


def test_late_row_changes_only_what_comes_after_it_was_known(lake, other):
    transactions, _ = random_history(200, days=20, seed=7, start=START)
    lake.append("transactions", transactions)
    featurize.run(lake, HANDBOOK, HERE)
    late = {"transaction_id": "late", "event_time": START + timedelta(days=5), "card_id": "c0"}
    lake.append("transactions", transaction_table([{**late, "known_at": START + timedelta(days=30)}]))
    before = by_id(lake)
    assert featurize.run(lake, HANDBOOK, HERE)["recomputed"] == 0
    after = by_id(lake)
    np.testing.assert_equal({key: after[key] for key in before}, before)
    assert_equal_to_full_computation(lake, other)


def test_rows_whose_windows_reach_back_beyond_the_history_are_marked(lake):
    rows = [
        {"transaction_id": str(day), "event_time": START + timedelta(days=day), "card_id": "c"}
        for day in range(40)
    ]
    lake.append("transactions", transaction_table(rows))
    done = featurize.run(lake, HANDBOOK, HERE)
    marked = {
        row["transaction_id"] for row in lake.read(HANDBOOK.table).to_pylist() if not row["history_complete"]
    }
    assert marked == {str(day) for day in range(37)}
    assert done["incomplete"] == 37


def test_older_days_that_come_late_complete_no_earlier_row(lake, other):
    rows = [{"transaction_id": str(day), "event_time": START + timedelta(days=day)} for day in range(60)]
    lake.append("transactions", transaction_table(rows[20:]))
    featurize.run(lake, HANDBOOK, HERE)
    known = START + timedelta(days=58)
    lake.append("transactions", transaction_table([{**row, "known_at": known} for row in rows[:20]]))
    featurize.run(lake, HANDBOOK, HERE)
    complete = {
        row["transaction_id"] for row in lake.read(HANDBOOK.table).to_pylist() if row["history_complete"]
    }
    assert complete == {"57", "58", "59"}
    assert_equal_to_full_computation(lake, other)


def test_feature_set_without_windows_needs_no_entities(settings, lake):
    rows = [{"transaction_id": "a", "event_time": START, "shop": "x", "age": 3.0}]
    attributes = {"shop": pa.string(), "age": pa.float64()}
    lake.append("transactions", transaction_table(rows, entities=(), attributes=attributes))
    features = load_text(
        "{format_version: 1, name: own, time_zone: Europe/Berlin, features: [{column: age}, {calendar: hour},"
        " {categorical: shop, values: [y, x]}]}",
        "own",
    )
    featurize.run(lake, features, settings)
    (row,) = lake.read(features.table, columns=[*features.names, "history_complete"]).to_pylist()
    assert row == {"age": 3.0, "hour": 1.0, "shop": 1.0, "history_complete": True}


def test_refunds_get_no_features_and_enter_no_windows(lake):
    rows = [
        {"transaction_id": "a", "event_time": START, "card_id": "c", "kind": "refund"},
        {"transaction_id": "b", "event_time": START.replace(hour=1), "card_id": "c"},
    ]
    lake.append("transactions", transaction_table(rows))
    featurize.run(lake, HANDBOOK, HERE)
    (row,) = lake.read(HANDBOOK.table).to_pylist()
    assert (row["transaction_id"], row["card_id_count_1d"]) == ("b", 1.0)


def test_refunds_enter_the_windows_that_ask_for_them(settings, lake):
    rows = [
        {"transaction_id": "a", "event_time": START, "card_id": "c", "kind": "refund"},
        {"transaction_id": "b", "event_time": START.replace(hour=1), "card_id": "c", "terminal_id": "t"},
    ]
    features = load_text(
        "{format_version: 1, name: own, time_zone: UTC, features: ["
        "{window: card_id, stats: [count], spans: [1d]}, {window: terminal_id, stats: [count], spans: [1d]}, "
        "{window: card_id, stats: [count], spans: [1d], where: {kind: refund}}]}",
        "own",
    )
    lake.append("transactions", transaction_table(rows))
    featurize.run(lake, features, settings)
    (row,) = lake.read(features.table, columns=features.names).to_pylist()
    assert tuple(row.values()) == (1.0, 1.0, 1.0)


def test_missing_column_is_refused_before_anything_is_written(lake):
    rows = [{"transaction_id": "a", "event_time": START}]
    lake.append("transactions", transaction_table(rows, entities=("card_id",)))
    with pytest.raises(SchemaError, match="terminal_id"):
        featurize.run(lake, HANDBOOK, HERE)
    assert not lake.exists(HANDBOOK.table)


def test_two_runs_at_once_commit_once(lake, monkeypatch):
    transactions, _ = random_history(50, days=3, seed=4, start=START)
    lake.append("transactions", transactions)
    here = in_threads.run

    def meanwhile(*args):
        monkeypatch.setattr(in_threads, "run", here)
        featurize.run(lake, HANDBOOK, HERE)
        return here(*args)

    monkeypatch.setattr(in_threads, "run", meanwhile)
    with pytest.raises(ChangedMeanwhileError, match="run this one again"):
        featurize.run(lake, HANDBOOK, HERE)
    assert lake.read(HANDBOOK.table).num_rows == 50


def test_empty_lake_is_refused(lake):
    with pytest.raises(TableNotFoundError, match="fraud ingest"):
        featurize.run(lake, HANDBOOK, HERE)
