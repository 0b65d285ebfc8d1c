"""What windows can say, and how each statistic is read off whole-number totals, for every executor alike.

An executor fills *parts*: counts, sums, extremes of the facts inside a window. Sums are 64-bit integers, so
they do not depend on the order of addition. ``read`` makes the statistic of them, and is the only place that
divides.

The formulas are compiled, and the executors call the same ones.

An amount is a whole number already. A numeric attribute is added up in units of 2**-20, within +-2**22
(about a millionth, and 4 million): what lies outside counts as that bound. Its minimum and maximum are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fraud.features.facts import Floats, Ints

Stat = Literal["count", "sum", "mean", "std", "min", "max", "distinct", "seconds_since_last", "first_time"]
Part = Literal[
    "count",
    "present",
    "total",
    "squares_high",
    "squares_mid",
    "squares_low",
    "low",
    "high",
    "last",
    "distinct",
    "seen",
]

PARTS: Final[Mapping[Stat, tuple[Part, ...]]] = {
    "count": ("count",),
    "sum": ("present", "total"),
    "mean": ("present", "total"),
    "std": ("present", "total", "squares_high", "squares_mid", "squares_low"),
    "min": ("low",),
    "max": ("high",),
    "distinct": ("distinct",),
    "seconds_since_last": ("last",),
    "first_time": ("seen",),
}
"""The parts a statistic is made of.

``count``: transactions in the window. ``present``: those whose value is not missing. ``total``: sum of the
whole-number values. ``squares_*``: sums of ``limbs``. ``low``, ``high``: extreme values as float64, NaN for
none. ``last``: newest event time of strictly earlier ones (of frauds where the window is of fraud),
``NOTHING`` for none. ``distinct``: different texts. ``seen``: how many strictly earlier ones carry the
transaction's own text (-1 where it has none), or how many there are where the window is of nothing.
"""

NOTHING: Final = -(2**62)
"""The time of no event."""

_ONE: Final = 2.0**20
_BOUND: Final = 2.0**22
_LIMB: Final = 21
_MASK: Final = 2**_LIMB - 1


def whole(values: Floats) -> Ints:
    """Return an attribute in whole units of 2**-20, 0 where it is missing; shape ``(n,)``."""
    units: Ints = _units(values)
    return units


@njit(nogil=True, cache=True)
def _units(values: Any) -> Any:  # pragma: no cover
    units = np.empty(len(values), np.int64)
    for place in range(len(values)):
        units[place] = unit_of(values[place])
    return units


@njit(nogil=True, cache=True)
def unit_of(value: Any) -> Any:  # pragma: no cover
    """Return one value of an attribute in whole units, compiled."""
    if np.isnan(value):
        return 0
    return np.int64(np.rint(min(max(value, -_BOUND), _BOUND) * _ONE))


@njit(nogil=True, cache=True)
def limbs(values: Any) -> Any:  # pragma: no cover
    """Return three whole numbers per value v, or of one, whose sums hold the sum of v*v without overflow.

    ``v*v == high * 2**42 + mid * 2**22 + low`` for |v| <= 2**42.
    """
    high, low = values >> _LIMB, values & _MASK
    return high * high, high * low, low * low


def read(
    stat: Stat, parts: Mapping[Part, NDArray[Any]], event_time: Ints, *, scale: float, empty: float
) -> Floats:
    """Return a statistic of n windows.

    Args:
        stat: Which.
        parts: Those of ``PARTS[stat]``, each of shape ``(n,)``.
        event_time: Of the transactions whose windows these are, shape ``(n,)``.
        scale: Of the values behind ``total`` and ``squares_*``: 1, or 2**-20 for ``whole`` attributes.
        empty: What a window without values gives; a count gives 0 and ``first_time`` gives 1 all the same.
    """
    if stat in ("count", "distinct"):
        return np.asarray(parts[stat], np.float64)
    if stat == "first_time":
        seen = parts["seen"]
        return np.where(seen < 0, np.nan, (seen == 0).astype(np.float64))
    if stat in ("min", "max"):
        extreme = np.asarray(parts["low" if stat == "min" else "high"], np.float64)
        return np.where(np.isnan(extreme), empty, extreme)
    if stat == "seconds_since_last":
        last = parts["last"]
        return np.where(last == NOTHING, empty, (event_time - last).astype(np.float64) / 1e6)
    return _of_values(stat, parts, scale, empty)


def _of_values(stat: Stat, parts: Mapping[Part, NDArray[Any]], scale: float, empty: float) -> Floats:
    present, total = parts["present"], parts["total"]
    if stat == "sum":
        value: Floats = _sums(present, total, scale, empty)
    elif stat == "mean":
        value = _means(present, total, scale, empty)
    else:
        squares = (parts["squares_high"], parts["squares_mid"], parts["squares_low"])
        value = _deviations(present, total, *squares, scale, empty)
    return value


@njit(nogil=True, cache=True)
def _sums(present: Any, total: Any, scale: Any, empty: Any) -> Any:  # pragma: no cover
    value = np.empty(len(present))
    for window in range(len(present)):
        value[window] = sum_of(present[window], total[window], scale, empty)
    return value


@njit(nogil=True, cache=True)
def _means(present: Any, total: Any, scale: Any, empty: Any) -> Any:  # pragma: no cover
    value = np.empty(len(present))
    for window in range(len(present)):
        value[window] = mean_of(present[window], total[window], scale, empty)
    return value


@njit(nogil=True, cache=True)
def _deviations(
    present: Any, total: Any, high: Any, mid: Any, low: Any, scale: Any, empty: Any
) -> Any:  # pragma: no cover
    value = np.empty(len(present))
    for window in range(len(present)):
        value[window] = deviation_of(
            present[window], total[window], high[window], mid[window], low[window], scale, empty
        )
    return value


@njit(nogil=True, cache=True)
def sum_of(present: Any, total: Any, scale: Any, empty: Any) -> Any:  # pragma: no cover
    """Return the sum of one window, compiled."""
    return total * scale if present else empty


@njit(nogil=True, cache=True)
def mean_of(present: Any, total: Any, scale: Any, empty: Any) -> Any:  # pragma: no cover
    """Return the mean of one window, compiled."""
    return total * scale / present if present else empty


@njit(nogil=True, cache=True)
def deviation_of(
    present: Any, total: Any, high: Any, mid: Any, low: Any, scale: Any, empty: Any
) -> Any:  # pragma: no cover
    """Return the population's standard deviation of one window, compiled."""
    if not present:
        return empty
    return np.sqrt(_spread(present, total, high, mid, low)) / present * scale


@njit(nogil=True, cache=True)
def _spread(n: Any, total: Any, high: Any, mid: Any, low: Any) -> Any:  # pragma: no cover
    """N times the sum of squares less the square of the sum: n*n times the population's variance.

    It is taken from the values less their mean (rounded down), so that it is no small difference of large
    numbers, and rounded once, at the end. Whole numbers wrap around at 64 bits on the way.
    """
    mean = total // n
    rest = total - n * mean
    rough = np.float64(high) * 2.0**42 + np.float64(mid) * 2.0**22 + np.float64(low)
    exact = (high << 42) + (mid << 22) + low - mean * (total + rest)
    around = _nearest(exact, rough - np.float64(mean) * (np.float64(total) + np.float64(rest)))
    return _nearest(n * exact - rest * rest, np.float64(n) * around - np.float64(rest) ** 2)


@njit(nogil=True, cache=True)
def _nearest(remainder: Any, rough: Any) -> Any:  # pragma: no cover
    """The whole number of that remainder modulo 2**62 within 2**61 of a rough one."""
    known = np.int64(rough - 2.0**62 * np.rint(rough / 2.0**62))
    missing = ((remainder - known) << 2) >> 2
    return rough + np.float64(missing)
