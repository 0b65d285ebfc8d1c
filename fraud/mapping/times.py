"""Times of a source as UTC microseconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud.errors import SchemaError
from fraud.mapping.text import Bools, bools, flat, scaled, text

EPOCH_DIGITS: Final = {"epoch_s": 0, "epoch_ms": 3, "epoch_us": 6}
"""Formats that count from 1970-01-01 UTC, with the decimal digits of their unit."""

EARLIEST: Final = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
LATEST: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
"""A time outside is a default or an error of its source, not an event."""

_QUARTER_US: Final = 900_000_000
_DIRECTIVES: Final = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "b": r"(?P<b>[A-Za-z]{3})",
    "H": r"(?P<H>\d{1,2})",
    "I": r"(?P<I>\d{1,2})",
    "M": r"(?P<M>\d{2})",
    "S": r"(?P<S>\d{2})",
    "f": r"(?P<f>\d{1,9})",
    "p": r"(?P<p>[AaPp][Mm])",
    "z": r"(?P<z>[Zz]|[+-]\d{2}(?::?\d{2})?)",
    "%": "%",
}
_ISO: Final = (
    r"^(?P<Y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})(?:[Tt ](?P<H>\d{2}):(?P<M>\d{2})"
    r"(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?(?: ?(?P<z>[Zz]|UTC|[+-]\d{2}(?::?\d{2})?))?)?$"
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True)
class Reading:
    """Times as read; all arrays of shape ``(n,)``.

    Attributes:
        microseconds: Since 1970-01-01 UTC; 0 where a mask is set.
        missing: No value.
        unparsable: None of the formats fits.
        out_of_range: Before 1990 or after 2099.
        ambiguous: A local time that a clock change repeats, where the mapping says ``reject``.
        nonexistent: A local time that a clock change skips, where the mapping says ``reject``.
    """

    microseconds: NDArray[np.int64]
    missing: Bools
    unparsable: Bools
    out_of_range: Bools
    ambiguous: Bools
    nonexistent: Bools


def compile_format(pattern: str) -> str:
    """Return the regular expression of a time format; ``epoch_*`` has none and gives an empty one.

    Raises:
        ValueError: It has a directive that is not known here, or no date.
    """
    if pattern in EPOCH_DIGITS:
        return ""
    if pattern == "iso8601":
        return _ISO
    pieces = re.split(r"%(.)", pattern)
    unknown = [letter for letter in pieces[1::2] if letter not in _DIRECTIVES]
    if unknown or "%" not in pattern:
        known = " ".join(f"%{letter}" for letter in _DIRECTIVES)
        raise ValueError(f"{pattern!r} is no time format: use iso8601, {', '.join(EPOCH_DIGITS)}, or {known}")
    if not ({"Y", "y"} & set(pieces[1::2]) and {"m", "b"} & set(pieces[1::2]) and "d" in pieces[1::2]):
        raise ValueError(f"{pattern!r} has no whole date: it needs %Y or %y, %m or %b, and %d")
    body = "".join(_DIRECTIVES[piece] if odd % 2 else re.escape(piece) for odd, piece in enumerate(pieces))
    return f"^{body}$"


def read_times(
    column: pa.ChunkedArray | pa.Array,
    name: str,
    *,
    formats: tuple[str, ...],
    zone: str | None,
    clock_change: str,
    nulls: tuple[str, ...],
) -> Reading:
    """Read a column of times.

    Args:
        column: Text, timestamps, dates or numbers.
        name: The column's name, for messages.
        formats: Tried in their order, see ``compile_format``; numbers need an ``epoch_*`` one.
        zone: IANA zone of times that carry none.
        clock_change: ``first`` reads a repeated or skipped hour with the offset before the change,
            ``reject`` refuses it.
        nulls: Texts that mean no value.

    Raises:
        SchemaError: Times carry no zone and none is stated, or a number has no ``epoch_*`` format.
    """
    array = flat(column)
    if pa.types.is_temporal(array.type):
        local, known, zoned = _stamps(array, name)
        missing, bad = ~known, np.zeros(len(array), dtype=bool)
    elif pa.types.is_string(array.type):
        stripped = text(array, nulls)
        missing = bools(pc.is_null(stripped))
        local, known, zoned = _texts(stripped, formats)
        bad = ~known & ~missing
    else:
        local, known, zoned = _numbers(array, name, formats)
        missing, bad = bools(pc.is_null(array)), ~known & ~bools(pc.is_null(array))
    outside = known & ((local < EARLIEST) | (local >= LATEST))
    naive = known & ~zoned & ~outside
    no = np.zeros(len(array), dtype=bool)
    if not naive.any() or zone == "UTC":
        return Reading(np.where(outside, 0, local), missing, bad, outside, no, no)
    if zone is None:
        raise SchemaError(
            f"column {name}",
            ["its times carry no zone: state it in the mapping, such as `times: {zone: Europe/Berlin}`"],
        )
    before, after = _offsets(local, naive, zone)
    shifted = np.where(outside, 0, local - before)
    if clock_change == "first":
        return Reading(shifted, missing, bad, outside, no, no)
    return Reading(shifted, missing, bad, outside, before > after, before < after)


def _stamps(array: pa.Array, name: str) -> tuple[NDArray[np.int64], Bools, Bools]:
    if not (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
        raise SchemaError(f"column {name}", [f"is {array.type}, which is no time of a date"])
    zoned = getattr(array.type, "tz", None) is not None
    stamps = array.cast(pa.timestamp("us", tz="UTC" if zoned else None), safe=False)
    values = pc.fill_null(stamps.cast(pa.int64()), 0).to_numpy()
    known = bools(pc.is_valid(array))
    return values, known, np.full(len(array), zoned)


def _numbers(array: pa.Array, name: str, formats: tuple[str, ...]) -> tuple[NDArray[np.int64], Bools, Bools]:
    unit = next((format_ for format_ in formats if format_ in EPOCH_DIGITS), None)
    if unit is None or not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise SchemaError(
            f"column {name}",
            [
                f"is {array.type}: a time stored as a number needs `times: {{formats: [epoch_s]}}` (or epoch_ms, epoch_us)"
            ],
        )
    scale = 10 ** (6 - EPOCH_DIGITS[unit])
    if pa.types.is_integer(array.type):
        counts = pc.fill_null(array, 0).cast(pa.int64(), safe=False).to_numpy()
        fits = np.abs(counts) < 2**62 // scale
        return (
            np.where(fits, counts, 0) * scale,
            bools(pc.is_valid(array)) & fits,
            np.ones(len(array), dtype=bool),
        )
    seconds = pc.fill_null(array.cast(pa.float64()), np.nan).to_numpy() * scale
    fits = np.abs(seconds) < 2**62
    return (
        np.where(fits, np.rint(np.where(fits, seconds, 0)), 0).astype(np.int64),
        fits,
        np.ones(len(array), bool),
    )


def _texts(column: pa.Array, formats: tuple[str, ...]) -> tuple[NDArray[np.int64], Bools, Bools]:
    values = np.zeros(len(column), dtype=np.int64)
    known = np.zeros(len(column), dtype=bool)
    zoned = np.zeros(len(column), dtype=bool)
    for pattern in formats:
        rest = ~known & bools(pc.is_valid(column))
        if not rest.any():
            break
        some = column if rest.all() else column.filter(pa.array(rest))
        found, fits, carries = (
            _epoch_texts(some, pattern) if pattern in EPOCH_DIGITS else _pattern(some, pattern)
        )
        values[rest], known[rest], zoned[rest] = found, fits, carries
    return values, known, zoned


def _epoch_texts(column: pa.Array, unit: str) -> tuple[NDArray[np.int64], Bools, Bools]:
    read = scaled(column, 6 - EPOCH_DIGITS[unit])
    return read.values, ~(read.unparsable | read.large), np.ones(len(column), dtype=bool)


def _pattern(column: pa.Array, pattern: str) -> tuple[NDArray[np.int64], Bools, Bools]:
    """Read texts of one pattern: local microseconds, UTC where the text carries an offset."""
    parts = pc.extract_regex(column, compile_format(pattern))
    fits = bools(pc.is_valid(parts))
    names = {field.name for field in parts.type}

    def field(name: str, default: int = 0) -> NDArray[np.int64]:
        if name not in names:
            return np.full(len(column), default, dtype=np.int64)
        digits = pc.fill_null(pc.struct_field(parts, name), "")
        filled = pc.if_else(pc.equal(digits, ""), str(default), digits)
        numbers: NDArray[np.int64] = filled.cast(pa.int64()).to_numpy()
        return numbers

    def words(name: str) -> pa.Array:
        return pc.ascii_lower(pc.fill_null(pc.struct_field(parts, name), ""))

    # As strptime does: 69..99 are of the last century.
    year = field("Y") if "Y" in names else 1900 + field("y") + np.where(field("y") < 69, 100, 0)
    month = field("m", 1)
    if "b" in names:
        month = 1 + pc.fill_null(pc.index_in(words("b"), pa.array(_MONTHS)), -1).to_numpy().astype(np.int64)
    hour = field("H")
    if "I" in names:
        half = bools(pc.equal(words("p"), "pm")) if "p" in names else np.zeros(len(column), dtype=bool)
        hour = np.where((field("I") >= 1) & (field("I") <= 12), field("I") % 12 + 12 * half, 99)
    day, minute, second = field("d", 1), field("M"), field("S")
    starts = (12 * (year - 1970) + month - 1).astype("datetime64[M]")
    first = starts.astype("datetime64[D]").astype(np.int64)
    length = (starts + 1).astype("datetime64[D]").astype(np.int64) - first
    fits &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= length)
    fits &= (hour <= 23) & (minute <= 59) & (second <= 59)
    seconds = (first + day - 1) * 86_400 + hour * 3600 + minute * 60 + second
    fraction = np.zeros(len(column), dtype=np.int64)
    if "f" in names:
        digits = pc.utf8_slice_codeunits(pc.fill_null(pc.struct_field(parts, "f"), ""), 0, 6)
        fraction = pc.utf8_rpad(digits, 6, "0").cast(pa.int64()).to_numpy()
    zoned, offset = np.zeros(len(column), dtype=bool), np.zeros(len(column), dtype=np.int64)
    if "z" in names:
        zoned, offset = _written_offsets(words("z"))
    return np.where(fits, (seconds - offset) * 1_000_000 + fraction, 0), fits, zoned & fits


def _written_offsets(zone: pa.Array) -> tuple[Bools, NDArray[np.int64]]:
    """Read ``z``, ``utc`` or ``+hh[:mm]``: whether there is one, and its seconds east of UTC."""
    digits = pc.utf8_rpad(pc.replace_substring_regex(zone, "[^0-9]", ""), 4, "0").cast(pa.int64()).to_numpy()
    seconds = digits // 100 * 3600 + digits % 100 * 60
    return bools(pc.not_equal(zone, "")), np.where(bools(pc.starts_with(zone, "-")), -seconds, seconds)


def _offsets(
    local: NDArray[np.int64], naive: Bools, zone: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the zone's offsets (microseconds) before and after a change at each local time, 0 if not naive.

    The two differ only in an hour that is repeated (before > after) or skipped (before < after).
    Offsets change on quarter hours, so one look-up per quarter hour of the data is enough.
    """
    quarters, place = np.unique(local[naive] // _QUARTER_US, return_inverse=True)
    there = ZoneInfo(zone)
    offsets = np.zeros((2, len(local)), dtype=np.int64)
    starts = [
        datetime(1970, 1, 1, tzinfo=there) + timedelta(minutes=15) * int(quarter) for quarter in quarters
    ]
    for fold in (0, 1):
        found = [start.replace(fold=fold).utcoffset() or timedelta(0) for start in starts]
        offsets[fold, naive] = np.array([each // timedelta(microseconds=1) for each in found], np.int64)[
            place
        ]
    return offsets[0], offsets[1]
