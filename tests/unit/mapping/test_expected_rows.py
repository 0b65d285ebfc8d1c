"""A row that breaks an expectation is refused with its reason; one that lacks the value is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fraud import schema
from fraud.mapping.expect import Expect
from fraud.mapping.expected_rows import refuse_unexpected
from fraud.mapping.faults import Faults

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def reasons(expect: dict[str, Any], **columns: pa.Array) -> list[str]:
    faults = Faults(len(next(iter(columns.values()))))
    refuse_unexpected(columns, Expect.model_validate(expect), NOW, faults)
    return [reason for reason, _ in faults.said(np.arange(faults.rows))]


@pytest.mark.parametrize(
    ("currency", "minor", "reason"),
    [
        ("EUR", 9, "out_of_range"),
        ("EUR", 10, ""),
        ("EUR", 2000, ""),
        ("EUR", 2001, "out_of_range"),
        ("JPY", 0, "out_of_range"),
        ("JPY", 1, ""),
        ("JPY", 20, ""),
        ("JPY", 21, "out_of_range"),
        ("KWD", 99, "out_of_range"),
        ("KWD", 20_000, ""),
    ],
)
def test_range_of_amounts_is_in_major_units_of_each_currency(currency: str, minor: int, reason: str):
    expect = {"ranges": {"amount": {"min": 0.1, "max": 20}}}
    assert reasons(expect, currency=pa.array([currency]), amount_minor=pa.array([minor])) == [reason]


def test_one_end_of_a_range_may_stay_open():
    columns = {"currency": pa.array(["EUR"] * 3), "amount_minor": pa.array([0, 500, 10**9])}
    assert reasons({"ranges": {"amount": {"min": 5}}}, **columns) == ["out_of_range", "", ""]
    assert reasons({"ranges": {"amount": {"max": 5}}}, **columns) == ["", "", "out_of_range"]
    assert reasons({"ranges": {"amount": {"max": 1e12}}}, **columns) == ["", "", ""]


def test_ends_belong_to_a_range_and_a_missing_number_is_in_it():
    age = pa.array([-0.5, 0.0, None, 120.0, 120.5])
    expect = {"ranges": {"age": {"min": 0, "max": 120}}}
    assert reasons(expect, age=age) == ["out_of_range", "", "", "", "out_of_range"]


def test_value_outside_its_domain_is_refused_and_a_missing_one_is_not():
    found = reasons({"domains": {"land": ["DE", "PL"]}}, land=pa.array(["DE", "XX", None, "PL"]))
    assert found == ["", "not_in_domain", "", ""]


def test_event_may_lie_after_the_ingest_by_the_tolerance_and_no_longer():
    late = [timedelta(0), timedelta(seconds=300), timedelta(seconds=300, microseconds=1)]
    times = pa.array([NOW + each for each in late], schema.TIME)
    assert reasons({"not_in_future_s": 300}, event_time=times) == ["", "", "in_future"]


def test_earlier_fault_of_a_row_stands():
    faults = Faults(1)
    faults.add(pa.array([True]).to_numpy(zero_copy_only=False), "missing_id", "id")
    expect = Expect.model_validate({"domains": {"land": ["DE"]}})
    refuse_unexpected({"land": pa.array(["XX"])}, expect, NOW, faults)
    assert faults.said(np.arange(1))[0][0] == "missing_id"
