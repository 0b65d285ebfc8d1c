"""Who pays where: customers, terminals, and the terminals within a customer's reach.

Source: Le Borgne et al., Reproducible Machine Learning for Credit Card Fraud Detection (2022), chapter 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fraud.simulate.seeding import Purpose, numpy_stream

REACH: Final = 5.0
"""A customer pays at terminals nearer than this, on a square of side 100."""

_SIDE: Final = 100.0
_CUSTOMER_LOW: Final = (0.0, 0.0, 5.0, 0.0)
_CUSTOMER_HIGH: Final = (_SIDE, _SIDE, 100.0, 4.0)
_CUSTOMER_INDEX: Final = 0
_TERMINAL_INDEX: Final = 1


@dataclass(frozen=True, slots=True)
class Customers:
    """Consecutive customers: the first id, and rows of x, y, mean amount, mean transactions a day."""

    first: int
    profile: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.profile)

    def chunks(self, size: int) -> Iterator[Customers]:
        """Cut into pieces of at most ``size`` customers."""
        for start in range(0, len(self), size):
            yield Customers(self.first + start, self.profile[start : start + size])


@dataclass(frozen=True, slots=True)
class Terminals:
    """Terminals by ascending x, so that those near a customer are one short range; arrays of shape (n,)."""

    id: NDArray[np.int32]
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def reachable(self, x: float, y: float) -> NDArray[np.int32]:
        """Ids, ascending, of the terminals at a Euclidean distance below ``REACH`` from a point."""
        # A little wider than the reach: the bounds are rounded, the exact test follows.
        low, high = np.searchsorted(self.x, [x - 1.01 * REACH, x + 1.01 * REACH])
        distance = np.sqrt((x - self.x[low:high]) ** 2 + (y - self.y[low:high]) ** 2)
        return np.sort(self.id[low:high][distance < REACH])


def customers(count: int, seed: int) -> Customers:
    """Draw places and habits: x, y in U(0, 100), mean amount U(5, 100), mean transactions a day U(0, 4)."""
    rng = numpy_stream(Purpose.CUSTOMERS, _CUSTOMER_INDEX, seed)
    return Customers(0, rng.uniform(_CUSTOMER_LOW, _CUSTOMER_HIGH, size=(count, len(_CUSTOMER_LOW))))


def terminals(count: int, seed: int) -> Terminals:
    """Draw the terminals' places: x, y in U(0, 100)."""
    place = numpy_stream(Purpose.TERMINALS, _TERMINAL_INDEX, seed).uniform(0.0, _SIDE, size=(count, 2))
    order = np.argsort(place[:, 0], kind="stable")
    return Terminals(order.astype(np.int32), place[order, 0], place[order, 1])
