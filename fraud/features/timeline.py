"""Sorted transactions of many entities, to find where a time falls in an entity's past."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd

from fraud.features import loops
from fraud.features.facts import Bools, Facts, Ints, in_order


@dataclass(frozen=True, slots=True)
class Timeline:
    """Transactions ordered by (entity, event_time, tie); positions are places in that order.

    Attributes:
        facts: In that order, shape ``(n,)``.
        place: Where each stood among all, shape ``(n,)``.
        code: Of the entity, ascending, shape ``(n,)``.
        entities: The entity number of each code.
        begin: The position of each code's first transaction and, last, n; shape ``(codes + 1,)``.
        all: Every position, shape ``(n,)``.
    """

    facts: Facts
    place: Ints
    code: Ints
    entities: pd.Index
    begin: Ints
    all: Ints
    _offsets: dict[int, Ints] = field(default_factory=dict)

    def first_at(self, code: Ints, time: Ints) -> Ints:
        """The position of an entity's first transaction at or after a time, or of the next entity's first."""
        found: Ints = loops.first_at(self.begin, self.facts.event_time, code, time)
        return found

    def first_at_offset(self, offset: int) -> Ints:
        """The position of each transaction's entity's first one at or after its own time plus an offset."""
        if offset not in self._offsets:
            self._offsets[offset] = loops.first_at_offset(self.begin, self.facts.event_time, offset)
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
    blocks = max(1, -(-len(entity) // rows))
    block = (entity.view(np.uint64) >> np.uint64(32)) % np.uint64(blocks)
    place, bounds = loops.stable_order(block.view(np.int64), blocks)
    for begin, end in pairwise(bounds.tolist()):
        if begin < end:
            own = place[begin:end]
            yield _timeline(entity[own], facts.take(own), own)


def _timeline(entity: Ints, facts: Facts, place: Ints) -> Timeline:
    code, entities = pd.factorize(entity)
    order, begin = loops.stable_order(code.astype(np.int64), len(entities))
    if not in_order(facts.event_time, facts.tie):
        order = np.lexsort((facts.tie, facts.event_time, code))
    ordered = code[order].astype(np.int64)
    return Timeline(
        facts.take(order), place[order], ordered, pd.Index(entities), begin, np.arange(len(order))
    )
