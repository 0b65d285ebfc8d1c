"""Amounts and numbers are read exactly, or refused with the reason."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.errors import SchemaError
from fraud.mapping.amounts import Amounts, read_amounts
from fraud.mapping.text import numbers


def read(column: pa.Array, digits: int = 2, decimal: str = ".", thousands: str = "") -> Amounts:
    every = np.full(len(column), digits)
    return read_amounts(column, "amount", every, decimal=decimal, thousands=thousands, nulls=("", "-"))


FAULTS = ("missing", "unparsable", "non_finite", "not_whole", "too_large")


def fault(amounts: Amounts) -> list[str]:
    return [
        next((name for name in FAULTS if getattr(amounts, name)[row]), "")
        for row in range(len(amounts.minor))
    ]


@pytest.mark.parametrize(
    ("written", "decimal", "thousands", "expected"),
    [
        ("12.34", ".", "", 1234),
        (" +0.07 ", ".", "", 7),
        ("-12.30", ".", "", -1230),
        ("12", ".", "", 1200),
        ("12.", ".", "", 1200),
        (".5", ".", "", 50),
        ("12.340000", ".", "", 1234),
        ("10000000.00", ".", "", 10**9),
        ("1.234,5", ",", ".", 123450),
        ("1.234.567,89", ",", ".", 123456789),
        ("1,234.56", ".", ",", 123456),
        ("1 234,56", ",", " ", 123456),
        ("1234,56", ",", ".", 123456),
    ],
)
def test_texts_are_read_by_the_stated_marks(written: str, decimal: str, thousands: str, expected: int):
    amounts = read(pa.array([written]), 2, decimal, thousands)
    assert (amounts.minor.tolist(), fault(amounts)) == ([expected], [""])


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "missing"),
        ("-", "missing"),
        ("1,5", "unparsable"),  # a decimal comma that the mapping does not state is never guessed
        ("1.2.3", "unparsable"),
        ("EUR 5", "unparsable"),
        ("--5", "unparsable"),
        (".", "unparsable"),
        ("1e3", "unparsable"),
        ("٣", "unparsable"),
        ("NaN", "non_finite"),
        ("-inf", "non_finite"),
        ("0.005", "not_whole"),
        ("10000000.01", "too_large"),
        ("99999999999999999999", "too_large"),
    ],
)
def test_texts_that_are_no_amount_are_refused(written: str, reason: str):
    assert fault(read(pa.array([written, "1.00"]))) == [reason, ""]


def test_point_is_no_decimal_mark_where_a_comma_is():
    assert fault(read(pa.array(["1.23", "1.234"]), 2, ",", ".")) == ["unparsable", ""]


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=30), st.sampled_from([0, 2, 3, 4]))
def test_every_amount_survives_text_float_and_decimal(minor: list[int], digits: int):
    exact = [Decimal(each).scaleb(-digits) for each in minor]
    for column in (
        pa.array([f"{each:f}" for each in exact]),
        pa.array([float(each) for each in exact], pa.float64()),
        pa.array(exact, pa.decimal128(20, 6)),
    ):
        amounts = read(column, digits)
        assert amounts.minor.tolist() == minor
        assert set(fault(amounts)) == {""}


def test_single_precision_keeps_cents_of_usual_amounts():
    amounts = read(pa.array([57.16, 1999.99], pa.float32()))
    assert (amounts.minor.tolist(), fault(amounts)) == ([5716, 199999], ["", ""])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1.005, 1.004], pa.float64()), ["not_whole", "not_whole"]),
        (pa.array([float("nan"), float("inf"), None]), ["non_finite", "non_finite", "missing"]),
        (pa.array([1e12, -1e300]), ["too_large", "too_large"]),
        (pa.array([2**62, -(2**62), 10**7 + 1, 10**7], pa.int64()), ["too_large"] * 3 + [""]),
    ],
)
def test_typed_amounts_are_checked(column: pa.Array, expected: list[str]):
    assert fault(read(column)) == expected


def test_digits_follow_the_currency_of_each_row():
    amounts = read_amounts(
        pa.array(["1.5", "1.5", "1.5"]), "amount", np.array([2, 0, 3]), decimal=".", thousands="", nulls=()
    )
    assert amounts.minor[[0, 2]].tolist() == [150, 1500]
    assert fault(amounts) == ["", "not_whole", ""]


def test_column_of_another_type_holds_no_amounts():
    with pytest.raises(SchemaError, match="holds no amounts"):
        read(pa.array([True]))


@pytest.mark.parametrize(
    ("column", "expected", "refused"),
    [
        (pa.array(["1.234,5", "+3", "1e5", ",5"]), [1234.5, 3.0, 1e5, 0.5], [False] * 4),
        (pa.array(["", None, "NaN"]), [None, None, None], [False] * 3),
        (pa.array(["1.2", "abc", "inf"]), [None, None, None], [True] * 3),
        (pa.array([1, None], pa.int8()), [1.0, None], [False] * 2),
        (pa.array([float("nan"), 2.5]), [None, 2.5], [False] * 2),
        (pa.array([True, False]), [1.0, 0.0], [False] * 2),
    ],
)
def test_numeric_attributes_are_numbers_or_nothing(
    column: pa.Array, expected: list[Any], refused: list[bool]
):
    values, unreadable = numbers(column, decimal=",", thousands=".", nulls=("",))
    assert (values.to_pylist(), unreadable.tolist()) == (expected, refused)


@given(st.from_regex(r"[+-]?[0-9]{0,20}[.]?[0-9]{0,7}(e[0-9])?", fullmatch=True))
def test_an_amount_reads_the_same_alone_as_beside_one_that_is_no_number(text: str):
    alone, beside = read(pa.array([text])), read(pa.array([text, "none"]))
    for name in ("minor", "missing", "unparsable", "non_finite", "not_whole", "too_large"):
        assert getattr(alone, name)[0] == getattr(beside, name)[0], name
