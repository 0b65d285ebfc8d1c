"""Places in ascending whole numbers, found from a table of equal buckets instead of by halving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from fraud.features.facts import Ints

_STEPS: Final = 8
"""Steps within a bucket before halving: buckets hold half a number on average, but numbers may crowd."""


@dataclass(frozen=True, slots=True)
class Places:
    """Ascending numbers, not negative, in which others are looked up.

    Attributes:
        numbers: Followed by one that is greater than any other, shape ``(n + 1,)``.
        shift: A number's bucket is what is left of it after so many bits.
        first: The place of the first number of each bucket or of a later one, shape ``(buckets + 1,)``.
    """

    numbers: Ints
    shift: int
    first: Ints

    @classmethod
    def of(cls, numbers: Ints) -> Places:
        """Make the table; ``numbers`` are ascending and at least one."""
        shift = max(0, (int(numbers[-1]) // (2 * len(numbers))).bit_length() - 1)
        bucket = numbers >> shift
        first = np.zeros(int(bucket[-1]) + 2, np.int64)
        np.cumsum(np.bincount(bucket), out=first[1:])
        return cls(np.append(numbers, 2**63 - 1), shift, first)

    def find(self, wanted: Ints) -> Ints:
        """Return the place of the first number at or after each wanted one, shape ``(m,)``."""
        place: Ints = self.first[np.minimum(wanted >> self.shift, len(self.first) - 1)]
        behind = np.flatnonzero(self.numbers[place] < wanted)
        for _ in range(_STEPS):
            if not len(behind):
                return place
            place[behind] += 1
            behind = behind[self.numbers[place[behind]] < wanted[behind]]
        place[behind] = np.searchsorted(self.numbers, wanted[behind])
        return place
