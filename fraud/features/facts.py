"""Transactions as windows read them, and when they counted as fraud; the executors share these arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fraud.schema import tie

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NO_TEXT: Final = -(2**63)
"""Stands for a missing text among the numbers of texts."""

STATUS_TIME: Final = "status_time"


def text_number(text: str | None) -> int:
    """Return the 64-bit number that stands for a text in every executor: an id, a category, a kind.

    Two texts of one number would be taken for each other; among a hundred million ids the chance of any is
    3 in 10,000.
    """
    return NO_TEXT if text is None else tie(text)


def pair_number(first: Any, second: Any) -> Any:
    """Return the number of a pair of texts from their numbers; integers of NumPy or arrays of them."""
    with np.errstate(over="ignore"):
        mixed = first * np.int64(-7046029254386353131) + second
        return mixed ^ (mixed >> np.int64(29))


@dataclass(frozen=True, slots=True)
class Facts:
    """Transactions, every array of shape ``(n,)``.

    Attributes:
        event_time: Microseconds since 1970 in UTC.
        tie: Orders transactions of the same instant.
        known_at: Microseconds; not before ``event_time``.
        columns: What windows read: ``amount`` in minor units of the base currency (int64), numeric attributes
            (float64, NaN where missing), texts as their numbers (int64, ``NO_TEXT`` where missing), and
            ``status_time`` in microseconds (int64, 0 where the status came with the transaction).
    """

    event_time: Ints
    tie: Ints
    known_at: Ints
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.event_time)

    def take(self, order: Ints | slice) -> Facts:
        """Return the facts at these positions."""
        columns = {name: column[order] for name, column in self.columns.items()}
        return Facts(self.event_time[order], self.tie[order], self.known_at[order], columns)


def in_order(event_time: Ints, tie: Ints) -> bool:
    """Whether transactions are ordered by (event_time, tie)."""
    before, after = event_time[:-1], event_time[1:]
    # Compared, not subtracted: a difference of two ties does not fit 64 bits.
    return bool(np.all((before < after) | ((before == after) & (tie[:-1] < tie[1:]))))


@dataclass(frozen=True, slots=True)
class Frauds:
    """When transactions counted as fraud, in any order; every array has shape ``(m,)``.

    A transaction that was called fraud twice, with a withdrawal between, has two rows.

    Attributes:
        event_time: Of the fraudulent transaction, microseconds.
        known: From when on it is known as fraud, microseconds.
        withdrawn: From when on it no longer is.
    """

    event_time: Ints
    known: Ints
    withdrawn: Ints
