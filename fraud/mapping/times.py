"""Times of a source as UTC microseconds, whatever type they have and whatever their zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud.errors import SchemaError
from fraud.mapping.text import Bools, bools, flat, text
from fraud.mapping.time_format import EPOCH_DIGITS, Written, read_texts

EARLIEST: Final = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
LATEST: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
"""A time outside is a default or an error of its source, not an event."""

_QUARTER_US: Final = 900_000_000


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
    stripped = text(array, nulls) if pa.types.is_string(array.type) else array
    if pa.types.is_temporal(array.type):
        written = _stamps(array, name)
    elif pa.types.is_string(array.type):
        written = read_texts(stripped, formats)
    else:
        written = _numbers(array, name, formats)
    missing = bools(pc.is_null(stripped))
    outside = written.known & ((written.microseconds < EARLIEST) | (written.microseconds >= LATEST))
    local = np.where(outside, 0, written.microseconds)
    naive = written.known & ~written.zoned & ~outside
    before, after = _offsets(local, naive, zone, name)
    strict = clock_change == "reject"
    return Reading(
        microseconds=local - before,
        missing=missing,
        unparsable=~written.known & ~missing,
        out_of_range=outside,
        ambiguous=(before > after) & strict,
        nonexistent=(before < after) & strict,
    )


def _stamps(array: pa.Array, name: str) -> Written:
    if not (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
        raise SchemaError(f"column {name}", [f"is {array.type}, which is no time of a date"])
    zoned = getattr(array.type, "tz", None) is not None
    stamps = array.cast(pa.timestamp("us", tz="UTC" if zoned else None), safe=False)
    values = pc.fill_null(stamps.cast(pa.int64()), 0).to_numpy()
    return Written(values, bools(pc.is_valid(array)), np.full(len(array), zoned))


def _numbers(array: pa.Array, name: str, formats: tuple[str, ...]) -> Written:
    unit = next((format_ for format_ in formats if format_ in EPOCH_DIGITS), None)
    if unit is None or not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        problem = f"is {array.type}: a time stored as a number needs `times: {{formats: [epoch_s]}}`"
        raise SchemaError(f"column {name}", [f"{problem} (or epoch_ms, epoch_us)"])
    scale = 10 ** (6 - EPOCH_DIGITS[unit])
    zoned = np.ones(len(array), dtype=bool)
    if pa.types.is_integer(array.type):
        counts = pc.fill_null(array, 0).cast(pa.int64(), safe=False).to_numpy()
        fits = np.abs(counts) < 2**62 // scale
        return Written(np.where(fits, counts, 0) * scale, bools(pc.is_valid(array)) & fits, zoned)
    floats = pc.fill_null(array.cast(pa.float64()), np.nan).to_numpy() * scale
    fits = np.abs(floats) < 2**62
    return Written(np.rint(np.where(fits, floats, 0)).astype(np.int64), fits, zoned)


def _offsets(
    local: NDArray[np.int64], naive: Bools, zone: str | None, name: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the zone's offsets (microseconds) before and after a change at each local time, 0 if not naive.

    The two differ only in an hour that is repeated (before > after) or skipped (before < after).
    Offsets change on quarter hours, so one look-up per quarter hour of the data is enough.
    """
    offsets = np.zeros((2, len(local)), dtype=np.int64)
    if zone == "UTC" or not naive.any():
        return offsets[0], offsets[1]
    if zone is None:
        remedy = "state it in the mapping, such as `times: {zone: Europe/Berlin}`"
        raise SchemaError(f"column {name}", [f"its times carry no zone: {remedy}"])
    quarters, place = np.unique(local[naive] // _QUARTER_US, return_inverse=True)
    there = ZoneInfo(zone)
    starts = [
        datetime(1970, 1, 1, tzinfo=there) + timedelta(minutes=15) * int(quarter) for quarter in quarters
    ]
    for fold in (0, 1):
        found = [start.replace(fold=fold).utcoffset() or timedelta(0) for start in starts]
        offsets[fold, naive] = np.array([each // timedelta(microseconds=1) for each in found], np.int64)[
            place
        ]
    return offsets[0], offsets[1]
