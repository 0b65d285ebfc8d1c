"""The parts of a window's statistics, read off an entity's past.

Whole chunks are read by their summaries; those at a window's edge, and the head, record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud.features import loops
from fraud.features.directory import Directory, Stretches
from fraud.features.facts import NO_TEXT, Bools, Ints
from fraud.features.packed import Packed
from fraud.features.past import Past
from fraud.features.statistics import NOTHING, Part, limbs
from fraud.features.track import EXTREMES, Track, exact_of, present_of, units_of

Column = NDArray[Any]
"""A part of each span, shape ``(spans,)``."""

_TEXTUAL: Final = frozenset({"distinct", "seen"})
_LARGEST: Final = frozenset({"high", "last"})


@dataclass(frozen=True)
class Ask:
    """What a window wants of one track.

    Attributes:
        track: Where.
        reading: The number of its condition there.
        parts: Which parts.
        delay: Of the window, microseconds.
        spans: Of the window, microseconds, shape ``(spans,)``.
        itself: Whether the transaction itself counts in its own window, strict parts aside.
        number: The column of the values.
        text: The column of the texts.
    """

    track: Track
    reading: int
    parts: tuple[Part, ...]
    delay: int
    spans: Ints
    itself: bool = False
    number: str | None = None
    text: str | None = None

    @cached_property
    def reach(self) -> Ints:
        """How far back each window begins."""
        return self.spans + self.delay

    @cached_property
    def columns(self) -> dict[Part, int]:
        """Where summaries hold the parts; none where the window is of texts, which they lack."""
        if self.text is not None:
            return {}
        wanted = {part: "count" if part == "seen" else part for part in self.parts}
        return {part: self.track.column(stored, self.reading, self.number) for part, stored in wanted.items()}


class Asker(NamedTuple):
    """The transaction whose windows are read.

    Attributes:
        event_time: Microseconds.
        tie: Orders transactions of the same instant.
        own: Its own text, for ``seen``.
    """

    event_time: int
    tie: int
    own: int = NO_TEXT


def read_parts(past: Past, ask: Ask, asker: Asker) -> dict[Part, Column]:
    """Read what the windows of one transaction hold.

    Args:
        past: The entity's; where the transaction itself is among the records it is known by its place.
        ask: Which parts of which windows.
        asker: The transaction.

    Returns:
        Each part of shape ``(spans,)``.
    """
    directory = past.directory
    if not len(directory):
        return _Loose(past.head, ask, asker).parts()
    low, high = asker.event_time - ask.reach, asker.event_time - ask.delay
    where = directory.stretches(low, high, strict=not ask.delay)
    apart = _apart(directory, ask, where, asker.event_time)
    loose = _Loose(past.loose(np.flatnonzero(apart).tolist()), ask, asker).parts()
    if not ask.columns:
        return loose
    return {
        part: _joined(part, loose[part], _summed(part, directory.table[column], apart, where))
        for part, column in ask.columns.items()
    }


def _apart(directory: Directory, ask: Ask, where: Stretches, now: int) -> Bools:
    """Which chunks must be read record by record: at an edge of a window, or not yet settled."""
    oldest = int(where.first.min())
    apart = np.zeros(len(directory), np.bool_)
    if not ask.columns:
        apart[oldest : where.last] = True
        return apart
    settled = directory.table[ask.track.settled_column(ask.reading), oldest : where.last]
    apart[oldest : where.last] = settled > now
    for begin, first in zip(where.begin.tolist(), where.first.tolist(), strict=True):
        apart[first : min(begin, where.last)] = True
        apart[max(where.end, first) : where.last] = True
    return apart


def _summed(part: Part, column: Ints, apart: Bools, where: Stretches) -> Column:
    """Join a part of the whole chunks of each window."""
    if part in EXTREMES or part == "last":
        values = column.view(np.float64) if part in EXTREMES else column
        nothing = np.nan if part in EXTREMES else NOTHING
        best = np.fmax if part in _LARGEST else np.fmin
        kept = np.where(apart, nothing, values)
        return np.array(
            [best.reduce(kept[begin : where.end], initial=nothing) for begin in where.begin.tolist()]
        )
    total = np.zeros(len(column) + 1, np.int64)
    np.cumsum(np.where(apart, 0, column), out=total[1:])
    summed: Column = total[np.maximum(where.end, where.begin)] - total[where.begin]
    return summed


def _joined(part: Part, first: Column, second: Column) -> Column:
    if part in EXTREMES or part == "last":
        joined: Column = (np.fmax if part in _LARGEST else np.fmin)(first, second)
        return joined
    return first + second


class _Loose:
    """Records, and where windows begin and end among them."""

    def __init__(self, rows: Packed, ask: Ask, asker: Asker) -> None:
        self.rows = rows
        self.ask = ask
        self.own = asker.own
        self.times = rows["event_time"]
        self.chosen = ask.track.readings[ask.reading].at(rows, asker.event_time)
        edges = loops.window_edges(self.times, rows["tie"], asker.event_time, asker.tie, ask.reach, ask.delay)
        self.begin = edges[:-2]
        self.before, end = edges[-2:].tolist()
        self.end = end if ask.itself else self.before

    def parts(self) -> dict[Part, Column]:
        return {part: _PARTS[part](self) for part in self.ask.parts}

    def units(self) -> Ints:
        return units_of(self.rows, self.ask.number or "")

    @cached_property
    def squares(self) -> tuple[Ints, Ints, Ints]:
        return limbs(self.units())

    def total(self, values: NDArray[Any], end: int) -> Ints:
        """The sum over each window of the values that count."""
        counted = values if self.chosen is None else values * self.chosen
        total: Ints = loops.window_sums(counted, self.begin, end)
        return total

    def count(self) -> Ints:
        if self.chosen is not None:
            return self.total(self.chosen, self.end)
        count: Ints = self.end - self.begin
        return count

    def present(self) -> Ints:
        present = present_of(self.rows, self.ask.number)
        return self.count() if present is None else self.total(present, self.end)

    def extreme(self, best: np.ufunc) -> Column:
        values = exact_of(self.rows, self.ask.number or "")
        if self.chosen is not None:
            values[~self.chosen] = np.nan
        return np.array(
            [best.reduce(values[first : self.end], initial=np.nan) for first in self.begin.tolist()]
        )

    def last(self) -> Ints:
        end = self.before
        if self.chosen is not None:
            end = int(np.flatnonzero(self.chosen[:end])[-1:].sum()) + 1 if self.chosen[:end].any() else 0
        newest = int(self.times[end - 1]) if end else NOTHING
        return np.where(self.begin < end, newest, NOTHING)

    def distinct(self) -> Ints:
        texts = self.rows[self.ask.text]
        counted = texts != NO_TEXT if self.chosen is None else self.chosen & (texts != NO_TEXT)
        found = [
            len(np.unique(texts[first : self.end][counted[first : self.end]]))
            for first in self.begin.tolist()
        ]
        return np.array(found, np.int64)

    def seen(self) -> Ints:
        if self.ask.text is None:
            every = np.ones(len(self.rows), np.int64)
            return self.total(every, self.before)
        if self.own == NO_TEXT:
            return np.full(len(self.begin), -1)
        return self.total(self.rows[self.ask.text] == self.own, self.before)


_PARTS: Final[Mapping[Part, Callable[[_Loose], Column]]] = {
    "count": _Loose.count,
    "present": _Loose.present,
    "total": lambda loose: loose.total(loose.units(), loose.end),
    "squares_high": lambda loose: loose.total(loose.squares[0], loose.end),
    "squares_mid": lambda loose: loose.total(loose.squares[1], loose.end),
    "squares_low": lambda loose: loose.total(loose.squares[2], loose.end),
    "low": lambda loose: loose.extreme(np.fmin),
    "high": lambda loose: loose.extreme(np.fmax),
    "last": _Loose.last,
    "distinct": _Loose.distinct,
    "seen": _Loose.seen,
}
