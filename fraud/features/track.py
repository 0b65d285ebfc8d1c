"""What is kept of one entity column for its windows: its transactions, or their labels.

Records are read in two ways: each for itself, and a whole chunk of them by its summary, once nothing about it
can change any more. A summary is a row of whole numbers, see ``Track.summary``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np

from fraud.features.facts import Bools, Floats, Ints
from fraud.features.kinds.window import Window
from fraud.features.packed import AMOUNT, KNOWN_AT, Format, Packed
from fraud.features.statistics import NOTHING, Part, limbs, whole
from fraud.features.window import NEVER

NUMBER, FIRST, LAST, LAST_TIE = range(4)
"""Columns of a summary: the chunk's number, its first and last event time, the tie of its last record."""

_PLACE: Final = 4
_COUNTED: Final[tuple[Part, ...]] = ("count", "last")
VALUED: Final[tuple[Part, ...]] = (
    "present", "total", "squares_high", "squares_mid", "squares_low", "low", "high"
)  # fmt: skip
"""The parts that are of a number."""

EXTREMES: Final = frozenset({"low", "high"})
"""The parts that are float64, also where a summary holds their bits."""


class Reading(Protocol):
    """Which records count for a window."""

    def at(self, rows: Packed, time: int) -> Bools | None:
        """Which of the records, those of before a time, count then, shape ``(n,)``; None where all do."""

    def settled(self, rows: Packed) -> int:
        """From when on that no longer changes."""


@dataclass(frozen=True)
class Entering:
    """Transactions: those that the window's condition lets in, once they are known."""

    window: Window
    format: Format

    @cached_property
    def _is_plain(self) -> bool:
        """Whether all transactions that are kept count."""
        kept = {name for name, _ in self.format.columns}
        return not kept & set(self.window.conditions)

    def at(self, rows: Packed, time: int) -> Bools | None:
        """Those that may enter and are known."""
        if self._is_plain and KNOWN_AT not in (rows.dtype.names or ()):
            return None
        facts = self.format.facts(rows)
        known: Bools = self.window.known(facts) <= time
        counted = None if self._is_plain else self.window.counts(facts)
        return known if counted is None else known & counted

    def settled(self, rows: Packed) -> int:
        """When the last of them was known."""
        facts = self.format.facts(rows)
        counted, known = self.window.counts(facts), self.window.known(facts)
        return int((known if counted is None else known[counted]).max(initial=NOTHING))


class Labelled:
    """Labels: one of each transaction that counts as fraud, the one by which it does."""

    def at(self, rows: Packed, time: int) -> Bools | None:
        """Labels of fraud that are known and that no later one has followed."""
        known = rows["label_time"] <= time
        followed = np.zeros(len(rows), np.bool_)
        same = (rows["event_time"][1:] == rows["event_time"][:-1]) & (rows["tie"][1:] == rows["tie"][:-1])
        followed[:-1] = same & known[1:]
        holding: Bools = known & rows["is_fraud"] & ~followed
        return holding

    def settled(self, rows: Packed) -> int:
        """When the last label was known."""
        return int(rows["label_time"].max(initial=NOTHING))


LABELS: Final = Format(
    columns=(("label_time", "<i8"), ("source", "<u2"), ("is_fraud", "?")),
    identity=("event_time", "tie", "label_time", "source", "is_fraud"),
    is_late=False,
)
"""Labels as records; ``source`` is a code."""


@dataclass(frozen=True)
class Track:
    """The records of one entity column.

    Attributes:
        number: Which, in the keys of the state.
        format: Of its records.
        readings: One for every condition of a window.
        measures: The numbers that are added up, each with the reading of its condition.
        history_us: How far back a window can look.
    """

    number: int
    format: Format
    readings: tuple[Reading, ...]
    measures: tuple[tuple[int, str], ...]
    history_us: int

    @property
    def width(self) -> int:
        """The length of a summary."""
        return _PLACE + 3 * len(self.readings) + len(VALUED) * len(self.measures)

    def settled_column(self, reading: int) -> int:
        """Where a summary says from when on it holds for a reading."""
        return _PLACE + 3 * reading

    def column(self, part: Part, reading: int, number: str | None) -> int:
        """Where a summary holds a part."""
        if part in _COUNTED:
            return _PLACE + 3 * reading + 1 + _COUNTED.index(part)
        measure = self.measures.index((reading, number or ""))
        return _PLACE + 3 * len(self.readings) + len(VALUED) * measure + VALUED.index(part)

    def summary(self, number: int, rows: Packed) -> list[int]:
        """Sum up the records of a chunk, as they count once nothing about them changes any more.

        Returns:
            The number, first and last event time, last tie; per reading from when on it holds, the records
            that count and the newest event time of them; per measure its seven parts, the extremes as the
            bits of a float64.
        """
        found = [number, int(rows["event_time"][0]), int(rows["event_time"][-1]), int(rows["tie"][-1])]
        chosen = [rows[_all(reading.at(rows, NEVER))] for reading in self.readings]
        for reading, counted in zip(self.readings, chosen, strict=True):
            newest = int(counted["event_time"].max(initial=NOTHING))
            found += [reading.settled(rows), len(counted), newest]
        for reading_number, name in self.measures:
            found += _valued(chosen[reading_number], name)
        return found

    def chunk_rows(self, kind: np.dtype[Any]) -> int:
        """How many records of a type make a chunk of two pages."""
        return CHUNK_BYTES // kind.itemsize


CHUNK_BYTES: Final = 2 * 4096 - 16 - 2
"""Of a chunk's records: LMDB stores a large value in whole pages, with 16 bytes of its own; 2 are ours."""


def units_of(rows: Packed, name: str) -> Ints:
    """Return the amounts, or a numeric attribute, in whole numbers, 0 where missing; shape ``(n,)``."""
    return rows[AMOUNT].astype(np.int64) if name == AMOUNT else whole(rows[name].astype(np.float64))


def exact_of(rows: Packed, name: str) -> Floats:
    """Return the amounts, or a numeric attribute, as float64, NaN where missing; shape ``(n,)``."""
    exact: Floats = rows[name].astype(np.float64)
    return exact


def present_of(rows: Packed, name: str | None) -> Bools | None:
    """Tell which records have a value, shape ``(n,)``; None where all have."""
    return None if name in (None, AMOUNT) else ~np.isnan(rows[name])


def _valued(rows: Packed, name: str) -> list[int]:
    units, exact, present = units_of(rows, name), exact_of(rows, name), present_of(rows, name)
    sums = [len(rows) if present is None else int(np.count_nonzero(present))]
    sums += [int(column.sum()) for column in (units, *limbs(units))]
    extremes = [np.fmin.reduce(exact, initial=np.nan), np.fmax.reduce(exact, initial=np.nan)]
    return sums + np.array(extremes).view(np.int64).tolist()  # type: ignore[no-any-return]


def _all(chosen: Bools | None) -> Any:
    return slice(None) if chosen is None else chosen
