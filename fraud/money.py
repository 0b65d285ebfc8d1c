"""Money: minor-unit exponents of every currency and exact conversion into the base currency.

Amounts are integers of minor units (cents); a rate is a decimal fraction. A conversion is exact integer
arithmetic with one rounding, half to even, so that every path gives the same integer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_DIGITS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF "
        "CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD "
        "GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL "
        "MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR "
        "PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP "
        "TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_WITHDRAWN: Final = "ANG BGN CUC HRK SLL ZWL"
"""Withdrawn since 2022, all of two digits: years of history still carry them."""

EXPONENTS: Final[Mapping[str, int]] = MappingProxyType(
    {code: digits for digits, codes in _DIGITS.items() for code in codes.split()}
    | dict.fromkeys(_WITHDRAWN.split(), 2)
)
"""Digits of the minor unit of each code (Source: ISO 4217, list one; codes without a minor unit left out)."""


class DatedRate(Protocol):
    """A rate as the settings write it: base-currency worth of one major unit from a day on."""

    @property
    def currency(self) -> str:
        """ISO-4217 code."""

    @property
    def since(self) -> date:
        """First day it holds."""

    @property
    def rate(self) -> float:
        """Major units of the base currency for one major unit."""


class RateTable(Protocol):
    """The settings this module needs (``MoneySettings``); stated here because settings lie a layer above."""

    @property
    def base_currency(self) -> str:
        """ISO-4217 code that amounts are converted into."""

    @property
    def rates(self) -> Sequence[DatedRate]:
        """In any order."""


class UnknownRate(ValueError):  # noqa: N818  # a fact about a currency and a day, kept as the callers name it
    """The settings hold no rate for this currency on this day."""

    def __init__(self, currency: str, on: date) -> None:
        super().__init__(currency, on)
        self.currency = currency
        self.on = on

    def __str__(self) -> str:
        return f"no rate for {self.currency} on {self.on.isoformat()}: add one to money.rates"


@dataclass(frozen=True, slots=True)
class Rates:
    """The base currency and, per currency, its rates in ascending order of the day they hold from."""

    base: str
    table: Mapping[str, tuple[tuple[date, Decimal], ...]]

    def on(self, currency: str, day: date) -> Decimal:
        """Return the base-currency worth of one major unit of ``currency`` on ``day``.

        Raises:
            UnknownRate: No rate of the currency holds yet on that day.
        """
        if currency == self.base:
            return Decimal(1)
        found = [rate for since, rate in self.table.get(currency, ()) if since <= day]
        if not found or currency not in EXPONENTS:
            raise UnknownRate(currency, day)
        return found[-1]


def rates(settings: RateTable) -> Rates:
    """Build the dated table; a rate is the decimal number that the settings show."""
    table: dict[str, dict[date, Decimal]] = {}
    for entry in settings.rates:
        table.setdefault(entry.currency, {})[entry.since] = Decimal(repr(entry.rate))
    return Rates(settings.base_currency, {code: tuple(sorted(days.items())) for code, days in table.items()})


def to_base_minor(amount_minor: int, currency: str, on: date, rates: Rates) -> int:
    """Convert minor units of ``currency`` into minor units of the base currency, rounding half to even.

    Raises:
        UnknownRate: There is no rate for the currency on that day.
    """
    if currency == rates.base:
        return amount_minor
    rate = rates.on(currency, on)
    with localcontext() as context:
        context.prec = 60
        exact = amount_minor * rate.scaleb(EXPONENTS[rates.base] - EXPONENTS[currency])
        return int(exact.to_integral_value(rounding=ROUND_HALF_EVEN))


def has_rate(currencies: pa.Array, dates: pa.Array, rates: Rates) -> NDArray[np.bool_]:
    """Tell for each row whether its currency can be converted on its day, shape ``(n,)``."""
    codes, names = _codes(currencies)
    days = _days(dates)
    known = np.zeros(len(codes), dtype=bool)
    for index, name in enumerate(names):
        rows = codes == index
        if name == rates.base:
            known |= rows
        elif name in EXPONENTS and rates.table.get(name):
            known |= rows & (days >= _epoch_day(rates.table[name][0][0]))
    return known


def to_base_minor_array(
    amounts: NDArray[np.int64], currencies: pa.Array, dates: pa.Array, rates: Rates
) -> NDArray[np.int64]:
    """Convert as ``to_base_minor`` does, row by row, to the same integers.

    Args:
        amounts: Minor units of each row's currency, shape ``(n,)``.
        currencies: ISO-4217 codes, string or dictionary array of n.
        dates: The day whose rate holds, date32 array of n.
        rates: The dated table.

    Raises:
        UnknownRate: A row has no rate; ask ``has_rate`` first.
    """
    codes, names = _codes(currencies)
    days = _days(dates)
    converted = amounts.copy()
    for index, name in enumerate(names):
        if name == rates.base:
            continue
        rows = np.flatnonzero(codes == index)
        entries = rates.table.get(name, ())
        held = np.searchsorted([_epoch_day(since) for since, _ in entries], days[rows], side="right") - 1
        if len(rows) and held.min() < 0:
            first = date.fromordinal(int(days[rows][held.argmin()]) + date(1970, 1, 1).toordinal())
            raise UnknownRate(name, first)
        for position in np.unique(held):
            chosen = rows[held == position]
            rate = entries[position][1].scaleb(EXPONENTS[rates.base] - EXPONENTS[name])
            converted[chosen] = _scaled(amounts[chosen], rate)
    return converted


def _scaled(amounts: NDArray[np.int64], rate: Decimal) -> NDArray[np.int64]:
    """Multiply by a decimal and round half to even, in integers."""
    top, bottom = rate.as_integer_ratio()
    largest = int(np.abs(amounts).max(initial=0))
    if largest * top >= 2**62 or bottom >= 2**62:  # past 64-bit integers: slower, as exact
        return np.array([round(Fraction(int(amount) * top, bottom)) for amount in amounts], dtype=np.int64)
    quotient, rest = np.divmod(amounts * top, bottom)
    up = (rest > bottom - rest) | ((rest == bottom - rest) & (quotient % 2 == 1))
    result: NDArray[np.int64] = quotient + up
    return result


def _codes(currencies: pa.Array) -> tuple[NDArray[np.int64], list[str]]:
    if isinstance(currencies, pa.ChunkedArray):
        currencies = currencies.combine_chunks()
    if not pa.types.is_dictionary(currencies.type):
        currencies = currencies.dictionary_encode()
    codes = pc.fill_null(currencies.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    names: list[str] = currencies.dictionary.to_pylist()
    return codes, names


def _days(dates: pa.Array) -> NDArray[np.int32]:
    if isinstance(dates, pa.ChunkedArray):
        dates = dates.combine_chunks()
    days: NDArray[np.int32] = dates.cast(pa.int32()).to_numpy(zero_copy_only=False)
    return days


def _epoch_day(day: date) -> int:
    return (day - date(1970, 1, 1)).days
