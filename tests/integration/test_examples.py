from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from fraud import schema
from fraud.errors import NotEnoughDataError, TableNotFoundError
from fraud.features.spec import FeatureSet, load_text
from fraud.jobs.examples import examples, pin, to_table
from fraud.storage.lake import Lake

pytestmark = pytest.mark.ray

DAY = date(2024, 5, 1)
AS_OF = datetime(2024, 5, 10, tzinfo=UTC)
WEEK = timedelta(days=7)


def feature_set() -> FeatureSet:
    return load_text(
        "format_version: 1\nname: two\ntime_zone: UTC\nfeatures: [{column: amount}, {column: risk}]", "test"
    )


def at(days: float) -> datetime:
    return datetime(2024, 5, 1, tzinfo=UTC) + timedelta(days=days)


def transaction(name: str, days: float, **changes: object) -> dict[str, object]:
    return {
        "transaction_id": name,
        "event_time": at(days),
        "known_at": at(days),
        "kind": "purchase",
        "status": None,
        "status_time": None,
        "amount_minor": 100,
        "currency": "EUR",
        "amount_base_minor": 100,
        "tie": 0,
        "card_id": f"card {name}",
        "ingest_id": "i",
        "event_date": at(days).date(),
        **changes,
    }


def label(name: str, days: float, label_days: float, is_fraud: bool) -> dict[str, object]:
    return {
        "transaction_id": name,
        "event_time": at(days),
        "label_time": at(label_days),
        "source": "bank",
        "is_fraud": is_fraud,
        "fraud_type": None,
        "card_id": f"card {name}",
        "ingest_id": "i",
    }


def features(name: str, days: float, risk: float | None) -> dict[str, object]:
    times = {"transaction_id": name, "event_time": at(days), "event_date": at(days).date()}
    return {**times, "history_complete": True, "amount": 100.0, "risk": risk}


def store(lake: Lake, rows: list[dict[str, object]], labels: list[dict[str, object]], values: list) -> None:
    lake.append(schema.TRANSACTIONS, pa.Table.from_pylist(rows, schema.transactions(["card_id"], {})))
    if labels:
        lake.append(schema.LABELS, pa.Table.from_pylist(labels, schema.labels(["card_id"])))
    if values:
        lake.append(feature_set().table, pa.Table.from_pylist(values, schema.features(feature_set().names)))


def read(lake: Lake, **changes: object) -> pa.Table:
    asked = {"first": DAY, "last": date(2024, 5, 9), "as_of": AS_OF, "maturity": WEEK, **changes}
    return to_table(examples(lake, feature_set(), **asked))


def test_only_what_was_known_becomes_an_example(ray_cluster, lake):
    rows = [
        transaction("mature", 0.5),
        transaction("fraud", 0.25, amount_base_minor=7),
        transaction("withdrawn", 0.6),
        transaction("labelled later", 0.7),
        transaction("young", 7.5),
        transaction("young fraud", 7.6),
        transaction("declined", 0.8, status="declined", status_time=at(0.8)),
        transaction("late", 0.9, known_at=at(9.5)),
        transaction("refund", 0.95, kind="refund"),
        transaction("day before", -0.1),
    ]
    labels = [
        label("fraud", 0.25, 3, True),
        label("withdrawn", 0.6, 3, True),
        label("withdrawn", 0.6, 4, False),
        label("labelled later", 0.7, 9.5, True),
        label("young fraud", 7.6, 8, True),
    ]
    # In another order than the transactions, and not the refund.
    values = [
        features(
            row["transaction_id"], (row["event_time"] - at(0)) / timedelta(days=1), float(number) or None
        )
        for number, row in reversed(list(enumerate(rows)))
        if row["kind"] == "purchase"
    ]
    store(lake, rows, labels, values)

    table = read(lake)

    assert dict(zip(table["transaction_id"].to_pylist(), table["is_fraud"].to_pylist(), strict=True)) == {
        "fraud": True,
        "mature": False,
        "withdrawn": False,
        "labelled later": False,
        "young fraud": True,
    }
    own = ["transaction_id", "event_time", "event_date", "card_id", "amount_base_minor", "is_fraud"]
    assert table.schema.names == [*own, "amount", "risk"]
    assert table.schema.field("risk").type == pa.float32()
    assert table["transaction_id"].to_pylist()[0] == "fraud"
    assert table["card_id"].to_pylist()[0] == "card fraud"
    assert table["amount_base_minor"].to_pylist()[:2] == [7, 100]
    assert table["event_date"].to_pylist() == [DAY] * 4 + [date(2024, 5, 8)]
    np.testing.assert_array_equal(table["risk"].to_numpy(), [1, np.nan, 2, 3, 5])


def test_pinned_versions_hide_later_commits(ray_cluster, lake):
    store(lake, [transaction("a", 0.1)], [], [features("a", 0.1, 1.0)])
    versions = pin(lake, feature_set())
    store(lake, [transaction("b", 0.2)], [label("a", 0.1, 1, True)], [features("b", 0.2, 1.0)])
    assert read(lake, versions=versions)["is_fraud"].to_pylist() == [False]
    assert read(lake)["is_fraud"].to_pylist() == [True, False]


def test_transactions_are_pinned_to_what_has_features(ray_cluster, lake):
    store(lake, [transaction("a", 0.1)], [], [])
    values = pa.Table.from_pylist([features("a", 0.1, 1.0)], schema.features(feature_set().names))
    lake.append(feature_set().table, values, apps={"featurize": 0})
    store(lake, [transaction("b", 0.2)], [], [])
    assert read(lake)["transaction_id"].to_pylist() == ["a"]


def test_lake_without_cards_gives_null_cards(ray_cluster, lake):
    row = {name: value for name, value in transaction("a", 0.1).items() if name != "card_id"}
    lake.append(schema.TRANSACTIONS, pa.Table.from_pylist([row], schema.transactions([], {})))
    values = pa.Table.from_pylist([features("a", 0.1, 1.0)], schema.features(feature_set().names))
    lake.append(feature_set().table, values)
    assert read(lake)["card_id"].to_pylist() == [None]


def test_what_is_missing_is_said(ray_cluster, lake):
    with pytest.raises(TableNotFoundError, match="fraud ingest"):
        read(lake)
    store(lake, [transaction("a", 0.1)], [], [])
    with pytest.raises(TableNotFoundError, match="fraud featurize"):
        read(lake)
    store(lake, [transaction("b", 0.2)], [], [features("a", 0.1, 1.0)])
    with pytest.raises(Exception, match="1 of 2 transactions of 2024-05-01 have no features"):
        read(lake)
    with pytest.raises(NotEnoughDataError, match="ingest these days"):
        read(lake, first=date(2024, 6, 1), last=date(2024, 6, 2))
    with pytest.raises(NotEnoughDataError, match="no transaction whose truth is known"):
        read(lake, as_of=at(1))
