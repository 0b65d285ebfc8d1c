"""Runs of positions in which facts are seen, and what can be read off them at every position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud.features import loops
from fraud.features.facts import Bools, Ints


@dataclass(frozen=True, slots=True)
class Runs:
    """Half-open runs ``[begin, end)`` of positions; an empty one has ``begin == end``.

    Attributes:
        fact: Which fact is seen there, or a value of it, shape ``(m,)``.
        begin: First position, shape ``(m,)``.
        end: Past the last position, shape ``(m,)``.
    """

    fact: Ints
    begin: Ints
    end: Ints

    @classmethod
    def of(cls, fact: Ints, begin: Ints, end: Ints) -> Runs:
        """Make a run that ends before it begins an empty one."""
        return cls(fact, begin, np.maximum(begin, end))

    def keep(self, chosen: Bools) -> Runs:
        """Return the chosen ones."""
        if chosen.all():
            return self
        return Runs(self.fact[chosen], self.begin[chosen], self.end[chosen])

    def join(self, other: Runs) -> Runs:
        """Return both."""
        pairs = zip((self.fact, self.begin, self.end), (other.fact, other.begin, other.end), strict=True)
        return Runs(*(np.concatenate(pair) for pair in pairs))

    def total(self, values: Ints | None, n: int) -> Ints:
        """At each of n positions the sum of the values whose run holds it, or the number of runs for None."""
        if values is None:
            held: Ints = loops.count_held(self.begin, self.end, n)
        else:
            held = loops.add_held(self.begin, self.end, values, n)
        return held

    def extreme(self, values: NDArray[Any], ufunc: np.ufunc, nothing: float, n: int) -> NDArray[Any]:
        """At each of n positions the smallest (or largest) of the values whose run holds it.

        A run is laid over two blocks of the same power of two; from the largest power down, every block hands
        its value to its two halves.

        Args:
            values: One a run.
            ufunc: ``np.minimum`` or ``np.maximum``.
            nothing: What a position that no run holds gives.
            n: How many positions.
        """
        held = np.flatnonzero(self.begin < self.end)
        begin, end, values = self.begin[held], self.end[held], values[held]
        worst = _worst(values.dtype, ufunc)
        block = np.full(n, worst, values.dtype)
        power = np.frexp(end - begin)[1] - 1
        for level in range(int(power.max(initial=0)), -1, -1):
            on = np.flatnonzero(power == level)
            ufunc.at(block, begin[on], values[on])
            ufunc.at(block, end[on] - (1 << level), values[on])
            if level:
                half = 1 << (level - 1)
                block[half:] = ufunc(block[half:], block[:-half])
        return np.where(block == worst, nothing, block).astype(values.dtype)


def _worst(kind: np.dtype[Any], ufunc: np.ufunc) -> Any:
    least = ufunc is np.maximum
    if kind.kind == "f":
        return -np.inf if least else np.inf
    return np.iinfo(kind).min if least else np.iinfo(kind).max


def cover(group: Ints, seen: Runs) -> Runs:
    """Return, for each group of facts, the fewest runs that hold the same positions.

    Args:
        group: Of every fact that ``seen.fact`` may name.
        seen: In any order; ``fact`` of the result is the group.
    """
    seen = seen.keep(seen.begin < seen.end)
    of = group[seen.fact]
    order = np.lexsort((seen.begin, of))
    of, begin, end = of[order], seen.begin[order], seen.end[order]
    fresh = np.ones(len(of), np.bool_)
    reach = _reach(of, end)
    fresh[1:] = (of[1:] != of[:-1]) | (begin[1:] > reach[:-1])
    last = np.append(np.flatnonzero(fresh)[1:] - 1, len(of) - 1)[: np.count_nonzero(fresh)]
    return Runs(of[fresh], begin[fresh], reach[last])


def _reach(group: Ints, end: Ints) -> Ints:
    """The greatest end so far within each group, whose rows stand together."""
    number: Ints = np.cumsum(np.append(0, group[1:] != group[:-1]))[: len(group)]
    width = int(end.max(initial=0)) + 1
    reach: Ints = np.maximum.accumulate(end + number * width)
    return reach - number * width


def own_total(group: Ints, seen: Runs) -> Ints:
    """At each position, how many facts of the position's own group are seen there.

    Args:
        group: Of every position, and of every fact that ``seen.fact`` may name; from 0 on, shape ``(n,)``.
        seen: In any order.
    """
    n = len(group)
    order, _ = loops.stable_order(group, int(group.max(initial=-1)) + 1)
    key = group[order] * (n + 1) + order
    of = group[seen.fact] * (n + 1)
    begin, end = np.searchsorted(key, of + seen.begin), np.searchsorted(key, of + seen.end)
    total = np.empty(n, np.int64)
    total[order] = Runs.of(seen.fact, begin, end).total(None, n)
    return total
