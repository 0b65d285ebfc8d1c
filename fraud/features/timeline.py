"""Sorted transactions of many entities on one axis, to find where a time falls in an entity's past."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd

from fraud.features.facts import Bools, Facts, Floats, Ints, in_order
from fraud.features.places import Places
from fraud.features.runs import stable_order


@dataclass(frozen=True, slots=True)
class Timeline:
    """Transactions ordered by (entity, event_time, tie); positions are places in that order.

    Attributes:
        facts: In that order, shape ``(n,)``.
        order: Where each stood among those of the timeline, shape ``(n,)``.
        place: Where those stood among all, ascending, shape ``(n,)``.
        code: Of the entity, ascending, shape ``(n,)``.
        entities: The entity number of each code.
        places: Of one ascending number per transaction: its code and its place in time.
        ticks: Distinct event times where a time stands for its rank among them, else None.
        origin: The first event time.
        stride: Between two codes on the axis of keys.
        all: Every position, shape ``(n,)``.
    """

    facts: Facts
    order: Ints
    place: Ints
    code: Ints
    entities: pd.Index
    places: Places
    ticks: Ints | None
    origin: int
    stride: int
    all: Ints
    _offsets: dict[int, Ints] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Facts, order: Ints, place: Ints, code: Ints, entities: pd.Index) -> Timeline:
        """Lay transactions that are in order on an axis; arguments as the attributes."""
        times = facts.event_time
        origin, last = int(times.min()), int(times.max())
        ticks, stride = None, last - origin + 2
        if len(entities) * stride >= 2**62:
            # Many entities over a long time: the rank of a time is small where the time itself is not.
            ticks = np.unique(times)
            stride = len(ticks) + 1
        key = code * stride + (times - origin if ticks is None else np.searchsorted(ticks, times))
        all_of_them = np.arange(len(key))
        return cls(facts, order, place, code, entities, Places.of(key), ticks, origin, stride, all_of_them)

    def first_at(self, code: Ints, time: Ints) -> Ints:
        """The position of an entity's first transaction at or after a time, or of the next entity's first."""
        if self.ticks is None:
            place = np.maximum(np.minimum(time - self.origin, self.stride - 1), 0)
        else:
            place = np.searchsorted(self.ticks, time)
        return self.places.find(code * self.stride + place)

    def first_at_offset(self, offset: int) -> Ints:
        """The position of each transaction's entity's first one at or after its own time plus an offset."""
        if offset not in self._offsets:
            self._offsets[offset] = self.first_at(self.code, self.facts.event_time + offset)
        return self._offsets[offset]

    def seen_from(self, known: Ints, delay: int) -> Ints:
        """Where every transaction is first in another one's window that ends ``delay`` earlier.

        Args:
            known: When it is known, microseconds, shape ``(n,)``.
            delay: Microseconds.
        """
        times = self.facts.event_time
        begin = self.first_at_offset(delay) if delay else self.all + 1
        late = np.flatnonzero(known > times + delay)
        if len(late):
            begin = begin.copy()
            begin[late] = self.first_at(self.code[late], known[late])
        return begin

    def give_back(self, column: Floats, to: Floats) -> None:
        """Put a value per position where its transaction stood among all.

        In two steps, so that only the first one jumps about, and that within the processor's cache.
        """
        before = np.empty_like(column)
        before[self.order] = column
        to[self.place] = before

    def locate(self, entity: Ints) -> tuple[Ints, Bools]:
        """The codes of those entities that occur, and which ones do."""
        code = self.entities.get_indexer(entity)
        return code[code >= 0], code >= 0


def timelines(entity: Ints, facts: Facts, *, rows: int) -> Iterator[Timeline]:
    """Yield the transactions in order, the entities of about so many rows at a time.

    Args:
        entity: A number per entity, any 64-bit integers, shape ``(n,)``.
        facts: In any order; fastest where they are ordered by (event_time, tie).
        rows: An entity with more rows is yielded whole.
    """
    blocks = -(-len(entity) // rows)
    block = (entity.view(np.uint64) >> np.uint64(32)) % np.uint64(max(1, blocks))
    place = stable_order(block.astype(np.int64))
    bounds = np.searchsorted(block[place], np.arange(blocks + 1))
    for begin, end in pairwise(bounds):
        if begin < end:
            own = place[begin:end]
            yield _timeline(entity[own], facts.take(own), own)


def _timeline(entity: Ints, facts: Facts, place: Ints) -> Timeline:
    code, entities = pd.factorize(entity)
    code = code.astype(np.int64)
    order = _order(code, facts)
    return Timeline.of(facts.take(order), order, place, code[order], pd.Index(entities))


def _order(code: Ints, facts: Facts) -> Ints:
    """The order by (entity, event_time, tie)."""
    if not in_order(facts.event_time, facts.tie):
        return np.lexsort((facts.tie, facts.event_time, code))
    return stable_order(code)
