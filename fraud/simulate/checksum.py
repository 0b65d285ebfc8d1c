"""One number for a set of rows, whatever their order or division into files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORD = 2**64


def checksum(columns: Iterable[NDArray[np.integer[Any]]]) -> int:
    """Return the sum modulo 2^64 of a 64-bit hash of each row; sums of disjoint parts add up.

    Args:
        columns: Integer arrays of shape (n,), whose order matters.

    Source: the hash chains the finalizer of SplitMix64 (Steele, Lea, Flood 2014) over the columns.
    """
    state = np.zeros(1, np.uint64)
    for column in columns:
        state = _mix(state ^ column.astype(np.int64).view(np.uint64))
    return int(state.sum(dtype=np.uint64))


def combine(parts: Iterable[int]) -> str:
    """The checksum of all parts together, as 16 hexadecimal digits."""
    return f"{sum(parts) % _WORD:016x}"


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return state ^ state >> np.uint64(31)
