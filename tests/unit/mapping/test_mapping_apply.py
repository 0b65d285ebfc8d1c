"""A row becomes a transaction and perhaps a label, or is refused for one stated reason."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fraud import schema
from fraud.mapping.apply import Applied, apply_labels, apply_transactions, attribute_types
from fraud.mapping.spec import Mapping
from fraud.money import rates
from fraud.settings import MoneySettings, RateSettings

RATES = rates(MoneySettings(rates=(RateSettings(currency="USD", since=date(2024, 1, 1), rate=0.5),)))
NOW = datetime(2025, 1, 1, tzinfo=UTC)
DECLARED: dict[str, Any] = {
    "format_version": 1,
    "times": {"zone": "Europe/Berlin"},
    "columns": {"transaction_id": "id", "event_time": "at", "amount": "sum", "known_at": "seen"},
    "amount": {"currency_column": "cur", "negative": "refund"},
    "kinds": {"column": "kind", "values": {"buy": "purchase", "auth": "verification", "undo": "reversal"}},
    "status": {"column": "state", "values": {"ok": "approved", "no": "declined"}, "time_column": "state_at"},
    "entities": {"card_id": "card"},
    "attributes": {
        "risk": {"column": "risk", "type": "number"},
        "land": {"column": "land", "type": "category"},
    },
    "labels": {"column": "fraud", "fraud_values": ["Y"], "time_column": "told", "genuine": "recorded"},
}
ROW = {
    "id": "t1",
    "at": "2024-06-01 12:00:00",
    "sum": "10.00",
    "seen": None,
    "cur": "EUR",
    "kind": "buy",
    "state": "ok",
    "state_at": "2024-06-01 12:00:01",
    "card": "tok_1",
    "risk": "0.5",
    "land": "DE",
    "fraud": "Y",
    "told": "2024-06-11T12:00:00Z",
}


def apply(*changes: dict[str, Any], **declared: Any) -> Applied:
    mapping = Mapping.model_validate(DECLARED | declared)
    rows = [ROW | change for change in changes]
    table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in ROW})
    return apply_transactions(table, np.arange(len(rows)) + 100, mapping, RATES, NOW)


def transaction(**changes: Any) -> dict[str, Any]:
    found = apply(changes).transactions.to_pylist()
    assert len(found) == 1
    return found[0]


def test_row_has_the_declared_columns_of_the_lake():
    applied = apply({})
    kind = schema.transactions(["card_id"], attribute_types(Mapping.model_validate(DECLARED)))
    stamped = applied.transactions.append_column("ingest_id", pa.array(["x"])).select(kind.names)
    assert stamped.cast(kind).drop_columns(["tie", "ingest_id"]).to_pylist() == [
        {
            "transaction_id": "t1",
            "event_time": datetime(2024, 6, 1, 10, tzinfo=UTC),
            "known_at": datetime(2024, 6, 1, 10, tzinfo=UTC),
            "kind": "purchase",
            "status": "approved",
            "status_time": datetime(2024, 6, 1, 10, 0, 1, tzinfo=UTC),
            "amount_minor": 1000,
            "currency": "EUR",
            "amount_base_minor": 1000,
            "card_id": "tok_1",
            "risk": 0.5,
            "land": "DE",
            "event_date": date(2024, 6, 1),
        }
    ]
    assert applied.rows.tolist() == [100]


def test_day_is_that_of_utc():
    assert transaction(at="2024-06-01 00:30:00")["event_date"] == date(2024, 5, 31)


def test_amount_is_converted_at_the_rate_of_its_day():
    found = transaction(cur="usd", sum="10.01")
    assert (found["currency"], found["amount_minor"], found["amount_base_minor"]) == ("USD", 1001, 500)


def test_negative_amount_is_what_the_mapping_says():
    assert (transaction(sum="-3")["kind"], transaction(sum="-3")["amount_minor"]) == ("refund", 300)
    assert transaction(sum="-3", kind="undo")["kind"] == "reversal"
    refused = apply({"sum": "-3"}, amount={"currency_column": "cur"}).refused
    assert refused.column("reason").to_pylist() == ["negative_amount"]


def test_amounts_in_minor_units_have_no_decimals():
    unit = {"currency_column": "cur", "unit": "minor"}
    assert apply({"sum": "1234"}, amount=unit).transactions.column("amount_minor").to_pylist() == [1234]
    refused = apply({"sum": "12.5"}, amount=unit).refused
    assert refused.column("reason").to_pylist() == ["amount_not_whole_minor"]


def test_known_at_of_the_source_is_kept():
    assert transaction(seen="2024-06-02 12:00:00")["known_at"] == datetime(2024, 6, 2, 10, tzinfo=UTC)


def test_missing_optional_values_are_null():
    found = transaction(card="", risk="", land=" ", state="", state_at="")
    assert [found[name] for name in ("card_id", "risk", "land", "status", "status_time")] == [None] * 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": ""}, "missing_id"),
        ({"id": "4111111111111111"}, "card_number"),
        ({"card": "4111-1111-1111-1111"}, "card_number"),
        ({"land": "card 4111 1111 1111 1111"}, "card_number"),
        ({"at": None}, "missing_time"),
        ({"at": "soon"}, "unparsable_time"),
        ({"at": "1970-01-01 00:00:00"}, "time_out_of_range"),
        ({"at": "2024-10-27 02:30:00"}, "ambiguous_time"),
        ({"at": "2024-03-31 02:30:00"}, "nonexistent_time"),
        ({"sum": ""}, "missing_amount"),
        ({"sum": "ten"}, "unparsable_amount"),
        ({"sum": "nan"}, "non_finite_amount"),
        ({"sum": "1.005"}, "amount_not_whole_minor"),
        ({"sum": "10000000.01"}, "amount_too_large"),
        ({"cur": "XXX"}, "unknown_currency"),
        ({"cur": None}, "unknown_currency"),
        ({"cur": "GBP"}, "no_rate"),
        ({"cur": "USD", "at": "2023-12-31 12:00:00"}, "no_rate"),
        ({"kind": "gift"}, "unknown_kind"),
        ({"state": "maybe"}, "unknown_status"),
        ({"state_at": "later"}, "unparsable_time"),
        ({"seen": "2024-05-31 12:00:00"}, "known_before_event"),
        ({"risk": "high"}, "unparsable_attribute"),
        ({"risk": "inf"}, "unparsable_attribute"),
        ({"told": "2024-06-01T09:59:59Z"}, "label_before_event"),
        ({"told": ""}, "missing_label_time"),
    ],
)
def test_row_fault_has_its_reason(change: dict[str, Any], reason: str):
    applied = apply({}, change, {"id": "t3"})
    assert applied.transactions.column("transaction_id").to_pylist() == ["t1", "t3"]
    assert applied.labels.column("row").to_pylist() == [100, 102]
    refused = applied.refused.to_pylist()
    assert [(row["row"], row["reason"]) for row in refused] == [(101, reason)]
    assert refused[0]["detail"]
    raw = json.loads(refused[0]["raw"])
    assert raw.keys() == ROW.keys()
    assert "4111" not in refused[0]["raw"] + refused[0]["detail"]


def test_columns_listed_as_no_card_numbers_are_not_searched():
    applied = apply({"id": "4111111111111111"}, not_card_numbers=["id"])
    assert applied.transactions.num_rows == 1


def test_recorded_labels_are_written_for_every_answer():
    applied = apply({}, {"id": "t2", "fraud": "N"}, {"id": "t3", "fraud": ""})
    assert applied.labels.select(["transaction_id", "is_fraud"]).to_pylist() == [
        {"transaction_id": "t1", "is_fraud": True},
        {"transaction_id": "t2", "is_fraud": False},
    ]


def test_presumed_labels_are_written_for_frauds_only():
    presumed = DECLARED["labels"] | {"genuine": "presumed"}
    # No label time is needed where there is no label.
    applied = apply({}, {"id": "t2", "fraud": "N", "told": ""}, labels=presumed)
    assert applied.transactions.num_rows == 2
    assert applied.labels.column("transaction_id").to_pylist() == ["t1"]


def test_assumed_delay_dates_undated_labels():
    assumed = DECLARED["labels"] | {"delay_d": 1.5}
    applied = apply({}, {"id": "t2", "told": ""}, labels=assumed)
    assert applied.labels.column("label_time").to_pylist() == [
        datetime(2024, 6, 11, 12, tzinfo=UTC),
        datetime(2024, 6, 2, 22, tzinfo=UTC),
    ]


def test_file_of_labels_waits_for_its_transactions():
    mapping = Mapping.model_validate(
        {
            "format_version": 1,
            "kind": "labels",
            "columns": {"transaction_id": "ref"},
            "times": {"zone": "UTC"},
            "labels": {"time_column": "told", "delay_d": 30, "fraud_type": "why"},
        }
    )
    table = pa.table(
        {"ref": ["a", "", "c"], "told": ["2024-06-01", "2024-06-01", ""], "why": ["stolen", "lost", None]}
    )
    applied = apply_labels(table, np.arange(3), mapping)
    assert applied.labels.to_pylist() == [
        {
            "is_fraud": True,
            "label_time": datetime(2024, 6, 1, tzinfo=UTC),
            "fraud_type": "stolen",
            "transaction_id": "a",
            "row": 0,
        },
        {"is_fraud": True, "label_time": None, "fraud_type": None, "transaction_id": "c", "row": 2},
    ]
    assert applied.refused.column("reason").to_pylist() == ["missing_id"]
