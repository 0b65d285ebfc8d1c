"""Waves: stretches of the history that are computed one after the other, so that memory holds one.

A wave reads the days before it again as far as a window reaches, from slices that the wave before has cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from fraud.jobs.feature_steps import Group


@dataclass(frozen=True, slots=True)
class Wave:
    """Successive groups, by their numbers.

    Attributes:
        first: The first one that is read.
        begin: The first one whose features are computed.
        end: Past the last one.
    """

    first: int
    begin: int
    end: int

    def rows(self, groups: Sequence[Group]) -> int:
        """Rows of all that is read."""
        return sum(group.rows for group in groups[self.first : self.end])

    def asked(self, groups: Sequence[Group]) -> list[int]:
        """The groups whose features are wanted."""
        return [number for number in range(self.begin, self.end) if groups[number].asked]


def waves(groups: Sequence[Group], history: timedelta, *, rows: int) -> Iterator[Wave]:
    """Cut groups into waves.

    Args:
        groups: In the order of their days.
        history: How far back a window reaches.
        rows: Of a wave, at least. It also has as many as it reads again, so that nothing is read more than
            twice on average. A wave begins with a group whose features are wanted.
    """
    begin = 0
    while begin < len(groups):
        if not groups[begin].asked:
            begin += 1
            continue
        first = _first(groups, begin, history)
        again = sum(group.rows for group in groups[first:begin])
        end, held = begin, 0
        while end < len(groups) and (held < max(rows, again) or _share_a_day(groups[end - 1], groups[end])):
            held += groups[end].rows
            end += 1
        yield Wave(first, begin, end)
        begin = end


def _first(groups: Sequence[Group], begin: int, history: timedelta) -> int:
    """The first group that a window of this one reaches into."""
    oldest = oldest_day(groups[begin].first_day, history)
    return next(number for number, group in enumerate(groups) if group.last_day >= oldest)


def oldest_day(day: date, history: timedelta) -> date:
    """Return the day into which a window of a day's first instant reaches back."""
    return (datetime.combine(day, time()) - history).date()


def _share_a_day(one: Group, other: Group) -> bool:
    return one.last_day == other.first_day
