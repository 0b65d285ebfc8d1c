"""The directory of an entity's closed chunks: what a window needs to know of a chunk without reading it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from fraud.features.facts import Ints
from fraud.features.track import LAST, LAST_TIE, NUMBER

Position = tuple[int, int]
"""The event time and the tie of a record."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Summaries of chunks, in the order of their records.

    Attributes:
        table: A column for each chunk, see ``Track.summary``; shape ``(width, chunks)``.
    """

    table: Ints

    def __len__(self) -> int:
        chunks: int = self.table.shape[1]
        return chunks

    def numbers(self, places: Sequence[int] | slice) -> list[int]:
        """Return the numbers of the chunks at these places."""
        found: list[int] = self.table[NUMBER, places].tolist()
        return found

    @property
    def next_number(self) -> int:
        """A number that no chunk has."""
        return int(self.table[NUMBER].max(initial=-1)) + 1

    def ends_before(self, position: Position) -> bool:
        """Whether all chunks, of which there are some, end before a record."""
        return (int(self.table[LAST, -1]), int(self.table[LAST_TIE, -1])) < position

    def home(self, position: Position) -> int:
        """Return the place of the first chunk that ends with or after a record, past the last for none."""
        last, ties = self.table[LAST], self.table[LAST_TIE]
        place = int(np.searchsorted(last, position[0], "left"))
        while place < len(self) and (int(last[place]), int(ties[place])) < position:
            place += 1
        return place

    def with_chunks(self, place: int, replaced: int, summaries: Sequence[Sequence[int]]) -> Directory:
        """Return the directory with other chunks in the place of so many."""
        new = np.array(summaries, np.int64).reshape(-1, self.table.shape[0]).T
        return Directory(np.concatenate((self.table[:, :place], new, self.table[:, place + replaced :]), 1))

    def older(self, oldest: int) -> int:
        """Return how many chunks hold only records of an earlier event time."""
        return int(np.searchsorted(self.table[LAST], oldest, "left"))


def directory_of(raw: bytes, width: int) -> Directory:
    """Return the directory whose table's bytes these are."""
    return Directory(np.frombuffer(raw, np.int64).reshape(width, -1)) if raw else _empty(width)


@cache
def _empty(width: int) -> Directory:
    return Directory(np.empty((width, 0), np.int64))
