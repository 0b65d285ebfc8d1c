"""Times in text: ISO 8601, counts since 1970, and patterns such as ``%d.%m.%Y %H:%M``, read column-wise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud.mapping.text import Bools, bools, scaled

EPOCH_DIGITS: Final = {"epoch_s": 0, "epoch_ms": 3, "epoch_us": 6}
"""Formats that count from 1970-01-01 UTC, with the decimal digits of their unit."""

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
_NAIVE_LENGTHS: Final = {len("2026-01-31"), len("2026-01-31T23:59"), len("2026-01-31T23:59:59")}
_ZULU_LENGTH: Final = len("2026-01-31T23:59:59Z")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True)
class Written:
    """Times as written; all arrays of shape ``(n,)``.

    Attributes:
        microseconds: Since 1970-01-01, in UTC where ``zoned``, else of the local clock; 0 if not ``known``.
        known: A format fits and the date exists.
        zoned: The text carries an offset from UTC.
    """

    microseconds: NDArray[np.int64]
    known: Bools
    zoned: Bools


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


def read_texts(column: pa.Array, formats: tuple[str, ...]) -> Written:
    """Read texts, each by the first of the formats that fits it; null is not ``known``."""
    values = np.zeros(len(column), dtype=np.int64)
    known = np.zeros(len(column), dtype=bool)
    zoned = np.zeros(len(column), dtype=bool)
    for pattern in formats:
        rest = ~known & bools(pc.is_valid(column))
        if not rest.any():
            break
        some = column if rest.all() else column.filter(pa.array(rest))
        read = _counts(some, pattern) if pattern in EPOCH_DIGITS else _dates(some, pattern)
        values[rest], known[rest], zoned[rest] = read.microseconds, read.known, read.zoned
    return Written(values, known, zoned)


def _counts(column: pa.Array, unit: str) -> Written:
    read = scaled(column, 6 - EPOCH_DIGITS[unit])
    return Written(read.values, ~(read.unparsable | read.large), np.ones(len(column), dtype=bool))


def _dates(column: pa.Array, pattern: str) -> Written:
    plain = _plain_iso(column) if pattern == "iso8601" else None
    return _by_fields(column, pattern) if plain is None else plain


def _plain_iso(column: pa.Array) -> Written | None:
    """Read a column whose texts all have one of the commonest forms, a tenth of the time; None for any other.

    What Arrow reads beyond those (an hour alone, a clock without colons) differs in its length.
    """
    lengths = set(pc.unique(pc.binary_length(column)).to_pylist())
    zoned = lengths == {_ZULU_LENGTH} and pc.all(pc.ends_with(column, "Z")).as_py()
    if not (zoned or lengths <= _NAIVE_LENGTHS):
        return None
    try:
        stamps = column.cast(pa.timestamp("us", "UTC" if zoned else None))
    except pa.ArrowInvalid:  # some text is no time: which one is for the slower way to find
        return None
    every = np.ones(len(column), dtype=bool)
    return Written(stamps.cast(pa.int64()).to_numpy(), every, every if zoned else ~every)


def _by_fields(column: pa.Array, pattern: str) -> Written:
    parts = pc.extract_regex(column, compile_format(pattern))
    fields = _Fields(parts, frozenset(field.name for field in parts.type))
    days, exists = fields.days()
    seconds, on_clock = fields.seconds()
    zoned, offset = fields.offset()
    known = bools(pc.is_valid(parts)) & exists & on_clock
    values = (days * 86_400 + seconds - offset) * 1_000_000 + fields.microseconds()
    return Written(np.where(known, values, 0), known, zoned & known)


@dataclass(frozen=True, slots=True)
class _Fields:
    """The named groups of a pattern, as columns."""

    parts: pa.StructArray
    names: frozenset[str]

    def word(self, name: str) -> pa.Array:
        return pc.ascii_lower(pc.fill_null(pc.struct_field(self.parts, name), ""))

    def number(self, name: str, default: int) -> NDArray[np.int64]:
        if name not in self.names:
            return np.full(len(self.parts), default, dtype=np.int64)
        digits = self.word(name)
        filled = pc.if_else(pc.equal(digits, ""), str(default), digits)
        numbers: NDArray[np.int64] = filled.cast(pa.int64()).to_numpy()
        return numbers

    def days(self) -> tuple[NDArray[np.int64], Bools]:
        """Days since 1970-01-01, and whether there is such a day."""
        year, month, day = self._year(), self._month(), self.number("d", 1)
        starts = (12 * (year - 1970) + month - 1).astype("datetime64[M]")
        first = starts.astype("datetime64[D]").astype(np.int64)
        length = (starts + 1).astype("datetime64[D]").astype(np.int64) - first
        return first + day - 1, (month >= 1) & (month <= 12) & (day >= 1) & (day <= length)

    def _year(self) -> NDArray[np.int64]:
        if "Y" in self.names:
            return self.number("Y", 0)
        short = self.number("y", 0)
        # As strptime does: 69..99 are of the last century.
        return short + np.where(short < 69, 2000, 1900)

    def _month(self) -> NDArray[np.int64]:
        if "b" not in self.names:
            return self.number("m", 1)
        place = pc.fill_null(pc.index_in(self.word("b"), pa.array(_MONTHS)), -1)
        month: NDArray[np.int64] = place.to_numpy().astype(np.int64) + 1
        return month

    def seconds(self) -> tuple[NDArray[np.int64], Bools]:
        """Seconds since midnight, and whether the clock shows such a time."""
        hour, minute, second = self.number("H", 0), self.number("M", 0), self.number("S", 0)
        on_clock = (hour <= 23) & (minute <= 59) & (second <= 59)
        if "I" in self.names:
            twelve = self.number("I", 12)
            on_clock &= (twelve >= 1) & (twelve <= 12)
            hour = twelve % 12 + (12 * bools(pc.equal(self.word("p"), "pm")) if "p" in self.names else 0)
        return hour * 3600 + minute * 60 + second, on_clock

    def microseconds(self) -> NDArray[np.int64]:
        """Of the fraction of a second; further digits are cut off."""
        if "f" not in self.names:
            return np.zeros(len(self.parts), dtype=np.int64)
        digits = pc.utf8_rpad(pc.utf8_slice_codeunits(self.word("f"), 0, 6), 6, "0")
        fraction: NDArray[np.int64] = digits.cast(pa.int64()).to_numpy()
        return fraction

    def offset(self) -> tuple[Bools, NDArray[np.int64]]:
        """Whether ``z``, ``utc`` or ``+hh[:mm]`` is written, and its seconds east of UTC."""
        if "z" not in self.names:
            return np.zeros(len(self.parts), dtype=bool), np.zeros(len(self.parts), dtype=np.int64)
        zone = self.word("z")
        digits = (
            pc.utf8_rpad(pc.replace_substring_regex(zone, "[^0-9]", ""), 4, "0").cast(pa.int64()).to_numpy()
        )
        seconds = digits // 100 * 3600 + digits % 100 * 60
        return bools(pc.not_equal(zone, "")), np.where(bools(pc.starts_with(zone, "-")), -seconds, seconds)
