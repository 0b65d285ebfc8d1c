from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from factories import EPOCH, label_table, micros
from hypothesis import given
from hypothesis import strategies as st

from fraud.model.truth import (
    FRAUD,
    GENUINE,
    UNKNOWN,
    UNOBSERVABLE,
    fraud_types,
    newest_labels,
    truth_as_of,
)
from fraud.schema import TIME

LABELS = pa.schema(
    [("transaction_id", pa.string()), ("label_time", TIME), ("source", pa.string()), ("is_fraud", pa.bool_())]
)


def labels(*rows: tuple[str, int, str, bool]) -> pa.Table:
    return pa.table([pa.array(column) for column in zip(*rows, strict=True)] or [[]] * 4, LABELS.names).cast(
        LABELS
    )


def truth_of(
    event: int, known: pa.Table, *, as_of: int, maturity: int = 100, status=None, status_time=None
) -> int:
    found = truth_as_of(
        np.array([event]),
        pa.array(["t"]),
        pa.array([status], pa.string()),
        pa.array([status_time], pa.int64()).cast(TIME),
        known,
        as_of_us=as_of,
        maturity_us=maturity,
    )
    assert found.dtype == np.int8
    return int(found[0])


def test_newest_label_known_decides():
    history = labels(("t", 10, "bank", True), ("t", 20, "bank", False))
    assert truth_of(0, history, as_of=9) == UNKNOWN
    assert truth_of(0, history, as_of=10) == FRAUD
    assert truth_of(0, history, as_of=19) == FRAUD
    assert truth_of(0, history, as_of=20) == GENUINE


def test_greater_source_wins_at_equal_label_time():
    assert truth_of(0, labels(("t", 5, "b", True), ("t", 5, "a", False)), as_of=5) == FRAUD
    assert truth_of(0, labels(("t", 5, "a", True), ("t", 5, "b", False)), as_of=5) == GENUINE


def test_unlabelled_is_presumed_genuine_at_maturity_and_not_before():
    assert truth_of(0, labels(), as_of=99) == UNKNOWN
    assert truth_of(0, labels(), as_of=100) == GENUINE


def test_labels_of_other_transactions_are_ignored():
    assert truth_of(0, labels(("u", 1, "a", True)), as_of=100) == GENUINE


@pytest.mark.parametrize("status", ["declined", "reversed"])
def test_unobservable_is_never_presumed_genuine(status):
    assert truth_of(0, labels(), as_of=1000, status=status) == UNOBSERVABLE
    assert truth_of(0, labels(("t", 5, "a", False)), as_of=1000, status=status) == UNOBSERVABLE


def test_reversed_fraud_is_a_fraud_and_declined_fraud_is_unobservable():
    fraud = labels(("t", 5, "a", True))
    assert truth_of(0, fraud, as_of=1000, status="reversed") == FRAUD
    assert truth_of(0, fraud, as_of=1000, status="declined") == UNOBSERVABLE
    assert truth_of(0, fraud, as_of=500, status="declined", status_time=501) == FRAUD


def test_status_counts_from_when_it_was_known():
    assert truth_of(0, labels(), as_of=500, status="reversed", status_time=501) == GENUINE
    assert truth_of(0, labels(), as_of=501, status="reversed", status_time=501) == UNOBSERVABLE
    assert truth_of(0, labels(), as_of=500, status="approved", status_time=1) == GENUINE


def test_lake_without_statuses_or_labels_is_allowed():
    found = truth_as_of(
        np.array([0, 950]), pa.array(["a", "b"]), None, None, labels(), as_of_us=1000, maturity_us=100
    )
    assert found.tolist() == [GENUINE, UNKNOWN]


def test_chunked_columns_are_accepted():
    ids = pa.chunked_array([["a"], ["b"]])
    found = truth_as_of(
        np.array([0, 0]), ids, None, None, labels(("b", 1, "s", True)), as_of_us=100, maturity_us=100
    )
    assert found.tolist() == [GENUINE, FRAUD]


def test_newest_labels_keeps_one_row_a_transaction():
    known = labels(("a", 1, "x", True), ("b", 1, "x", True), ("a", 3, "x", False), ("b", 9, "x", False))
    newest = newest_labels(known, as_of_us=5).sort_by("transaction_id")
    assert newest.column("transaction_id").to_pylist() == ["a", "b"]
    assert newest.column("is_fraud").to_pylist() == [False, True]


rows = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 6), st.sampled_from(["x", "y", "é"]), st.booleans()),
    max_size=20,
    unique_by=lambda row: row[:3],
)
events = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([None, "declined", "approved"])), min_size=1, max_size=5
)


@given(rows, events, st.integers(0, 8), st.integers(0, 4))
def test_equals_plain_definition(history, transactions, as_of, maturity):
    ids = list("abcde")[: len(transactions)]
    expected = []
    for transaction_id, (event, status) in zip(ids, transactions, strict=True):
        known = sorted(row[1:] for row in history if row[0] == transaction_id and row[1] <= as_of)
        if status == "declined" and event <= as_of:
            expected.append(UNOBSERVABLE)
        elif known and known[-1][2]:
            expected.append(FRAUD)
        else:
            expected.append(GENUINE if known or event + maturity <= as_of else UNKNOWN)
    found = truth_as_of(
        np.array([event for event, _ in transactions]),
        pa.array(ids),
        pa.array([status for _, status in transactions], pa.string()),
        pa.nulls(len(ids), TIME),
        labels(*history),
        as_of_us=as_of,
        maturity_us=maturity,
    )
    assert found.tolist() == expected


def test_the_type_of_fraud_is_the_newest_labels():
    rows = [("a", 1, "theft"), ("a", 3, "test charge"), ("b", 2, None), ("c", 9, "theft")]
    known = label_table(
        [
            {
                "transaction_id": name,
                "event_time": EPOCH,
                "label_time": EPOCH + timedelta(days=day),
                "fraud_type": kind,
            }
            for name, day, kind in rows
        ]
    )
    ids = pa.array(["c", "a", "b", "d"])
    found = fraud_types(ids, known, as_of_us=micros(EPOCH + timedelta(days=5)))
    assert found.to_pylist() == [None, "test charge", None, None]
