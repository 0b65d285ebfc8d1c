"""Loops over sorted arrays, compiled: where NumPy would pass over memory many times, these pass once.

They know nothing of features; ``fraud.features.timeline`` and ``fraud.features.runs`` say what they are for.
Every array of positions or times is of 64-bit integers. They run without the interpreter's lock.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def stable_order(code: Any, codes: Any) -> Any:  # pragma: no cover
    """Return the stable order of codes from 0 on, and where each code's rows begin in it.

    Args:
        code: Shape ``(n,)``.
        codes: How many different ones there may be.

    Returns:
        Of shape ``(n,)`` and ``(codes + 1,)``.
    """
    begin = np.zeros(codes + 1, np.int64)
    for place in range(len(code)):
        begin[code[place] + 1] += 1
    for number in range(codes):
        begin[number + 1] += begin[number]
    free = begin[:-1].copy()
    order = np.empty(len(code), np.int64)
    for place in range(len(code)):
        number = code[place]
        order[free[number]] = place
        free[number] += 1
    return order, begin


@njit(nogil=True, cache=True)
def first_at_offset(begin: Any, times: Any, offset: Any) -> Any:  # pragma: no cover
    """Return for each row the first of its group at or after its own time plus an offset of 0 or more.

    Args:
        begin: Where each group begins and, last, where all end, shape ``(groups + 1,)``.
        times: Ascending in each group, shape ``(n,)``.
        offset: In the unit of the times.

    Returns:
        Positions of shape ``(n,)``; the end of the group where there is none.
    """
    found = np.empty(len(times), np.int64)
    for group in range(len(begin) - 1):
        place, end = begin[group], begin[group + 1]
        for row in range(begin[group], end):
            wanted = times[row] + offset
            while place < end and times[place] < wanted:
                place += 1
            found[row] = place
    return found


@njit(nogil=True, cache=True)
def first_at(begin: Any, times: Any, group: Any, wanted: Any) -> Any:  # pragma: no cover
    """Return the first row of a group at or after a time, by halving; ``group`` and ``wanted`` go together.

    The other arguments, and what is returned, are those of ``first_at_offset``.
    """
    found = np.empty(len(wanted), np.int64)
    for asked in range(len(wanted)):
        low, high = begin[group[asked]], begin[group[asked] + 1]
        while low < high:
            middle = (low + high) >> 1
            if times[middle] < wanted[asked]:
                low = middle + 1
            else:
                high = middle
        found[asked] = low
    return found


@njit(nogil=True, cache=True)
def count_held(begin: Any, end: Any, n: Any) -> Any:  # pragma: no cover
    """Return how many half-open runs hold each of n positions; no run ends before it begins."""
    held = np.zeros(n + 1, np.int64)
    for run in range(len(begin)):
        held[begin[run]] += 1
        held[end[run]] -= 1
    for position in range(1, n):
        held[position] += held[position - 1]
    return held[:n]


@njit(nogil=True, cache=True)
def add_held(begin: Any, end: Any, values: Any, n: Any) -> Any:  # pragma: no cover
    """Return the sum of the values of the runs that hold each of n positions, as ``count_held``."""
    held = np.zeros(n + 1, np.int64)
    for run in range(len(begin)):
        held[begin[run]] += values[run]
        held[end[run]] -= values[run]
    for position in range(1, n):
        held[position] += held[position - 1]
    return held[:n]


@njit(nogil=True, cache=True)
def put_rows(columns: Any, place: Any, rows: Any) -> None:  # pragma: no cover
    """Write columns of shape ``(features, n)`` to n places among rows of shape ``(m, features)``.

    Those with a negative place are left out.
    """
    for number in range(len(place)):
        if place[number] >= 0:
            for feature in range(len(columns)):
                rows[place[number], feature] = columns[feature, number]


@njit(nogil=True, cache=True)
def put_columns(rows: Any, place: Any, columns: Any) -> None:  # pragma: no cover
    """Write rows of shape ``(n, features)`` to n places of columns of shape ``(features, m)``."""
    for number in range(len(place)):
        for feature in range(len(columns)):
            columns[feature, place[number]] = rows[number, feature]


@njit(nogil=True, cache=True)
def hours(times: Any, hour: Any, first: Any, cycle: Any) -> Any:  # pragma: no cover
    """Return the hour of each time in a cycle of so many hours, where time 0 is in hour ``first``."""
    found = np.empty(len(times), np.int64)
    for place in range(len(times)):
        found[place] = (times[place] // hour + first) % cycle
    return found


@njit(nogil=True, cache=True)
def quotients(over: Any, under: Any) -> Any:  # pragma: no cover
    """Return the one over the other, both of shape ``(n,)``; NaN where the other is 0."""
    found = np.empty(len(over))
    for place in range(len(over)):
        found[place] = over[place] / under[place] if under[place] != 0 else np.nan
    return found


@njit(nogil=True, cache=True)
def zscores(values: Any, mean: Any, std: Any, floor: Any) -> Any:  # pragma: no cover
    """Return how many standard deviations, at least ``floor`` each, values lie above their means.

    All are of shape ``(n,)``; NaN where the deviation is 0.
    """
    found = np.empty(len(values))
    for place in range(len(values)):
        unit = floor if std[place] < floor else std[place]
        found[place] = (values[place] - mean[place]) / unit if unit > 0 else np.nan
    return found
