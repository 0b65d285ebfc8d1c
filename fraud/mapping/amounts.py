"""Amounts of a source as exact integers of minor units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud.errors import SchemaError
from fraud.mapping.text import Bools, bools, flat, scaled, text
from fraud.money import EXPONENTS

LARGEST: Final = 10**9
"""Of |amount_minor|: sums and sums of squares of whole windows then stay exact."""

_MOST_DIGITS: Final = max(EXPONENTS.values())


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts as read; all arrays of shape ``(n,)``, ``minor`` is 0 where another mask is set."""

    minor: NDArray[np.int64]
    missing: Bools
    unparsable: Bools
    non_finite: Bools
    not_whole: Bools
    too_large: Bools


def read_amounts(
    column: pa.ChunkedArray | pa.Array,
    name: str,
    digits: NDArray[np.int64],
    *,
    decimal: str,
    thousands: str,
    nulls: tuple[str, ...],
) -> Amounts:
    """Read amounts as minor units.

    Args:
        column: Text, integers, decimals or floats.
        name: The column's name, for messages.
        digits: Decimal digits from the source's unit to the minor unit, 0 to 4, shape ``(n,)``.
        decimal: Decimal mark of texts.
        thousands: Mark between groups of thousands, or empty.
        nulls: Texts that mean no value.

    Raises:
        SchemaError: The column's type holds no amounts.
    """
    array = flat(column)
    if pa.types.is_floating(array.type):
        return _from_floats(array, digits)
    if pa.types.is_integer(array.type):
        return _from_integers(array, digits)
    if pa.types.is_decimal(array.type):
        return _from_text(array.cast(pa.string()), digits, ".", "")
    if not pa.types.is_string(array.type):
        raise SchemaError(f"column {name}", [f"is {array.type}, which holds no amounts"])
    return _from_text(text(array, nulls), digits, decimal, thousands)


def _from_text(column: pa.Array, digits: NDArray[np.int64], decimal: str, thousands: str) -> Amounts:
    read = scaled(column, _MOST_DIGITS, decimal=decimal, thousands=thousands)
    step = 10 ** (_MOST_DIGITS - digits)
    sign = np.sign(read.values)
    minor, rest = np.divmod(np.abs(read.values), step)
    missing = bools(pc.is_null(column))
    infinite = read.unparsable  # where there is none, which is nearly always
    if infinite.any():
        infinite = bools(pc.match_substring_regex(column, "(?i)^[+-]?(nan|inf|infinity)$"))
    return Amounts(
        minor=sign * minor,
        missing=missing,
        unparsable=read.unparsable & ~infinite,
        non_finite=infinite,
        not_whole=read.inexact | (rest != 0),
        too_large=read.large | (minor > LARGEST),
    )


def _from_integers(array: pa.Array, digits: NDArray[np.int64]) -> Amounts:
    values = pc.fill_null(array, 0).cast(pa.int64(), safe=False).to_numpy()
    no = np.zeros(len(array), dtype=bool)
    too_large = (values > LARGEST) | (values < -LARGEST)
    minor = np.where(too_large, 0, values) * 10**digits
    return Amounts(minor, bools(pc.is_null(array)), no, no, no, too_large | (np.abs(minor) > LARGEST))


def _from_floats(array: pa.Array, digits: NDArray[np.int64]) -> Amounts:
    missing = bools(pc.is_null(array))
    values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    non_finite = ~np.isfinite(values)
    # What the stored type cannot tell apart is no digit of the amount: 57.16 is stored as 57.159999...
    spacing = np.finfo(values.dtype).eps
    scaled_values = np.where(non_finite, 0, values).astype(np.float64) * 10.0**digits
    too_large = np.abs(scaled_values) > LARGEST + 0.5
    nearest = np.rint(np.where(too_large, 0, scaled_values))
    not_whole = ~too_large & (np.abs(scaled_values - nearest) > 1e-6 + 2 * spacing * np.abs(scaled_values))
    no = np.zeros(len(array), dtype=bool)
    return Amounts(nearest.astype(np.int64), missing, no, non_finite, not_whole, too_large)
