"""Columns of a source as plain text, and decimal numbers in text as exact integers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


def flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return one plain array: chunks joined, dictionaries decoded, views and large strings as strings."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        array = array.cast(pa.string())
    return array


def bools(array: pa.Array) -> Bools:
    """Return a boolean Arrow array as NumPy, null as False."""
    plain: Bools = pc.fill_null(array, fill_value=False).to_numpy(zero_copy_only=False)
    return plain


def text(column: pa.ChunkedArray | pa.Array, null_values: Sequence[str] = ("",)) -> pa.Array:
    """Return the column's values as trimmed text, null where there is no value.

    A whole number stored as a float (as data frames do where some values are missing) reads as the whole
    number: 596.0 is ``596``.
    """
    array = flat(column)
    if pa.types.is_floating(array.type):
        return _float_text(array)
    if not pa.types.is_string(array.type):
        return array.cast(pa.string())
    trimmed = pc.utf8_trim_whitespace(array)
    nothing = pc.equal(pc.binary_length(trimmed), 0)
    if any(null_values):
        nothing = pc.or_(nothing, pc.is_in(trimmed, value_set=pa.array(null_values, pa.string())))
    return pc.if_else(nothing, pa.scalar(None, pa.string()), trimmed) if pc.any(nothing).as_py() else trimmed


def _float_text(array: pa.Array) -> pa.Array:
    values = pc.fill_null(array.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    # Beyond 2**53 a float has lost digits; it stays in its own notation, which no id parser accepts.
    whole = np.isfinite(values) & (np.floor(values) == values) & (np.abs(values) < 2**53)
    integers = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.string())
    shown = pc.if_else(pa.array(whole), integers, pa.array(values).cast(pa.string()))
    return pc.if_else(pa.array(np.isnan(values)), pa.scalar(None, pa.string()), shown)


@dataclass(frozen=True, slots=True)
class Scaled:
    """Decimal texts times a power of ten; all arrays of shape ``(n,)``.

    Attributes:
        values: The integers, cut off towards zero; 0 where a mask is set.
        unparsable: No number with these marks (null is none of the masks).
        inexact: More decimals than the power of ten takes up.
        large: Does not fit.
    """

    values: NDArray[np.int64]
    unparsable: Bools
    inexact: Bools
    large: Bools


def scaled(column: pa.Array, digits: int, *, decimal: str = ".", thousands: str = "") -> Scaled:
    """Read decimal texts as integers of 10^-digits, without any floating point.

    Groups of thousands must be whole groups of three: with a decimal comma, ``1.234`` is a number only where
    ``thousands`` is ``.``, and then it is 1234.
    """
    filled = pc.fill_null(column, "0")
    plain = _plain_decimals(filled, digits) if decimal == "." and not thousands else None
    return _by_parts(filled, digits, decimal, thousands) if plain is None else plain


def _plain_decimals(column: pa.Array, digits: int) -> Scaled | None:
    """Read a column of plain numbers without exponents, in a third of the time; None for any other."""
    if pc.any(pc.match_substring(column, "e", ignore_case=True)).as_py():
        return None
    try:
        numbers = column.cast(pa.decimal128(18, digits))
    except pa.ArrowInvalid:  # some text is no such number: which one is for the slower way to find
        return None
    no = np.zeros(len(column), dtype=bool)
    # A decimal is a 128-bit integer, of which 18 digits take the lower half alone.
    values = np.frombuffer(numbers.buffers()[1], np.int64)[2 * numbers.offset :: 2][: len(column)]
    return Scaled(values.copy(), no, no, no)


def _by_parts(column: pa.Array, digits: int, decimal: str, thousands: str) -> Scaled:
    grouped = _ungrouped(column, decimal, thousands)
    parts = pc.extract_regex(
        grouped, rf"^(?P<sign>[+-]?)(?P<whole>\d*)(?:{re.escape(decimal)}(?P<fraction>\d*))?$"
    )
    whole = pc.utf8_ltrim(_part(parts, "whole"), "0")
    every_fraction = _part(parts, "fraction")
    fraction = pc.utf8_rtrim(every_fraction, "0")
    empty = bools(pc.equal(pc.binary_length(_part(parts, "whole")), 0)) & bools(
        pc.equal(pc.binary_length(every_fraction), 0)
    )
    unparsable = bools(pc.is_null(parts)) | empty
    large = bools(pc.greater(pc.binary_length(whole), 18 - digits))
    inexact = bools(pc.greater(pc.binary_length(fraction), digits))
    kept = pc.utf8_rpad(pc.utf8_slice_codeunits(fraction, 0, digits), digits, "0") if digits else None
    joined = whole if kept is None else pc.binary_join_element_wise(whole, kept, "")
    usable = pa.array(~(unparsable | large))
    numbers = pc.if_else(usable, pc.utf8_lpad(joined, 1, "0"), "0").cast(pa.int64()).to_numpy()
    negative = bools(pc.equal(_part(parts, "sign"), "-"))
    return Scaled(
        np.where(negative, -numbers, numbers), unparsable, inexact & ~unparsable, large & ~unparsable
    )


def _ungrouped(column: pa.Array, decimal: str, thousands: str) -> pa.Array:
    if not thousands:
        return column
    ours, mark = re.escape(thousands), re.escape(decimal)
    well_grouped = pc.match_substring_regex(column, rf"^[+-]?\d{{1,3}}({ours}\d{{3}})+({mark}\d*)?$")
    return pc.if_else(well_grouped, pc.replace_substring(column, thousands, ""), column)


def _part(parts: pa.StructArray, name: str) -> pa.Array:
    return pc.fill_null(pc.struct_field(parts, name), "")


def numbers(
    column: pa.ChunkedArray | pa.Array, *, decimal: str, thousands: str, nulls: Sequence[str]
) -> tuple[pa.Array, Bools]:
    """Read a numeric attribute as float64, null where missing or NaN.

    Returns:
        The values, and which of them are no finite numbers, shape ``(n,)``.
    """
    array = flat(column)
    if pa.types.is_string(array.type):
        return _text_numbers(text(array, nulls), decimal, thousands)
    whole = array.cast(pa.int8()) if pa.types.is_boolean(array.type) else array
    values = whole.cast(pa.float64(), safe=False)
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values), bools(pc.is_inf(values))


def _text_numbers(column: pa.Array, decimal: str, thousands: str) -> tuple[pa.Array, Bools]:
    plain = _ungrouped(column, decimal, thousands)
    shape = rf"^[+-]?(\d+({re.escape(decimal)}\d*)?|{re.escape(decimal)}\d+)([eE][+-]?\d{{1,3}})?$"
    fits = pc.match_substring_regex(plain, shape)
    missing = pc.match_substring_regex(plain, "(?i)^nan$")
    readable = pc.replace_substring(plain, decimal, ".") if decimal != "." else plain
    # Arrow reads no leading plus.
    readable = pc.utf8_ltrim(pc.if_else(fits, readable, pa.scalar(None, pa.string())), "+")
    values = readable.cast(pa.float64())
    return values, bools(pc.invert(pc.or_(fits, missing))) | bools(pc.is_inf(values))
