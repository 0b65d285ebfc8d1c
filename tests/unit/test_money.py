"""Conversion into the base currency is exact, and one row and many give the same integer."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.money import EXPONENTS, UnknownRate, has_rate, rates, to_base_minor, to_base_minor_array
from fraud.settings import MoneySettings, RateSettings

RATES = rates(
    MoneySettings(
        base_currency="EUR",
        rates=(
            RateSettings(currency="USD", since=date(2024, 1, 1), rate=0.9),
            RateSettings(currency="USD", since=date(2024, 7, 1), rate=0.925),
            RateSettings(currency="JPY", since=date(2024, 1, 1), rate=0.0061237),
            RateSettings(currency="KWD", since=date(2024, 1, 1), rate=2.98765),
        ),
    )
)


def test_exponents_follow_iso_4217():
    assert (EXPONENTS["EUR"], EXPONENTS["JPY"], EXPONENTS["KWD"], EXPONENTS["CLF"]) == (2, 0, 3, 4)
    assert "XAU" not in EXPONENTS


def test_base_currency_is_unchanged_without_any_rate():
    assert to_base_minor(12345, "EUR", date(1999, 1, 1), RATES) == 12345


@pytest.mark.parametrize(
    ("amount", "currency", "on", "expected"),
    [
        (1000, "USD", date(2024, 6, 30), 900),
        (1000, "USD", date(2024, 7, 1), 925),
        (20, "USD", date(2024, 7, 1), 18),  # 18.5 cents: half to even
        (60, "USD", date(2024, 7, 1), 56),  # 55.5 cents: half to even
        (-20, "USD", date(2024, 7, 1), -18),
        (10_000, "JPY", date(2024, 2, 1), 6124),  # 61.237 EUR
        (1500, "KWD", date(2024, 2, 1), 448),  # 1.5 KWD = 4.481475 EUR
    ],
)
def test_conversion_rounds_half_to_even(amount: int, currency: str, on: date, expected: int):
    assert to_base_minor(amount, currency, on, RATES) == expected


@pytest.mark.parametrize(("currency", "on"), [("USD", date(2023, 12, 31)), ("CHF", date(2024, 1, 1))])
def test_missing_rate_is_an_error_that_names_it(currency: str, on: date):
    with pytest.raises(UnknownRate, match=f"{currency} on {on.isoformat()}"):
        to_base_minor(1, currency, on, RATES)
    with pytest.raises(UnknownRate, match=f"{currency} on {on.isoformat()}"):
        to_base_minor_array(np.array([1]), pa.array([currency]), pa.array([on]), RATES)
    assert not has_rate(pa.array([currency]), pa.array([on]), RATES)[0]


ROWS = st.tuples(
    st.integers(-(10**9), 10**9),
    st.sampled_from(["EUR", "USD", "JPY", "KWD"]),
    st.integers(0, 400).map(lambda days: date(2024, 1, 1) + timedelta(days=days)),
)


@given(st.lists(ROWS, min_size=1, max_size=20))
def test_array_equals_single_conversion(rows: list[tuple[int, str, date]]):
    amounts, currencies, dates = (list(column) for column in zip(*rows, strict=True))
    converted = to_base_minor_array(np.array(amounts), pa.array(currencies), pa.array(dates), RATES)
    assert converted.tolist() == [to_base_minor(*row, RATES) for row in rows]


@given(st.integers(-(10**9), 10**9), st.floats(1e-9, 1e9))
def test_conversion_is_the_rational_product_for_any_rate(amount: int, rate: float):
    table = rates(MoneySettings(rates=(RateSettings(currency="JPY", since=date(2024, 1, 1), rate=rate),)))
    exact = round(Fraction(amount) * Fraction(Decimal(repr(rate))) * 100)
    assert to_base_minor(amount, "JPY", date(2024, 1, 1), table) == exact
    if abs(exact) < 2**62:
        array = to_base_minor_array(
            np.array([amount]), pa.array(["JPY"]), pa.array([date(2024, 1, 1)]), table
        )
        assert array.tolist() == [exact]
