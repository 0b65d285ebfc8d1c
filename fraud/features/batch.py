"""The batch executor: windows of whole histories, vectorised over sorted arrays.

A fact (a transaction, a known fraud) is seen by one contiguous run of its entity's later transactions. So a
window's sum is a running total over the transactions in order: every fact adds its value where its run
begins and takes it away where the run ends; its extremes and its texts are read off the same runs. Late
transactions and late, withdrawn or repeated labels only move the ends of a run; there is no second path for
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud.features import loops, runs
from fraud.features.facts import NO_TEXT, Bools, Facts, Floats, Frauds, Ints
from fraud.features.kinds.window import Window
from fraud.features.runs import Runs
from fraud.features.statistics import NOTHING, PARTS, Part, limbs, read, whole
from fraud.features.timeline import Timeline, timelines

_BLOCK_ROWS: Final = 100_000
"""Rows worked on at a time: their arrays stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class EntityFrauds:
    """The frauds of many entities.

    Attributes:
        entity: The entity of each fraud, shape ``(m,)``; entities without transactions are ignored.
        frauds: When transactions counted as fraud.
    """

    entity: Ints
    frauds: Frauds

    def take(self, order: Ints) -> EntityFrauds:
        """Return the frauds at these positions."""
        frauds = self.frauds
        taken = Frauds(frauds.event_time[order], frauds.known[order], frauds.withdrawn[order])
        return EntityFrauds(self.entity[order], taken)


def window_names(windows: Sequence[Window]) -> list[str]:
    """The features of windows, in the order of ``window_features``."""
    return [name for window in windows for name in window.names]


def window_features(
    windows: Sequence[Window], entity: Ints, facts: Facts, frauds: EntityFrauds, *, since: int = 0
) -> Floats:
    """Compute windows of one entity for every transaction.

    Args:
        windows: All of the same entity.
        entity: A number per entity, any 64-bit integers, shape ``(n,)``.
        facts: The transactions, in any order; fastest where they are ordered by (event_time, tie).
        frauds: Of the same entities.
        since: The first transaction whose features are wanted; those before are its past.

    Returns:
        Shape ``(n - since, features)``: a row for each transaction in the order of ``facts``, where its
        features are those of ``window_names``. They lie together, since they travel together.
    """
    features = np.empty((len(facts) - since, len(window_names(windows))))
    for line in timelines(entity, facts, rows=_BLOCK_ROWS):
        columns = [
            column for window in windows for column in _Window(window, line, frauds).features().values()
        ]
        loops.put_rows(np.stack(columns), line.place - since, features)
    return features


class _Window:
    """One declared window over a timeline: its parts, span after span, in the timeline's order."""

    def __init__(self, window: Window, line: Timeline, frauds: EntityFrauds) -> None:
        self.window = window
        self.line = line
        self.frauds = frauds
        self.facts = line.facts
        self.chosen = window.counts(line.facts)
        self._seen: dict[tuple[int, bool], Runs] = {}
        self.begin = line.seen_from(window.known(line.facts), window.delay)

    def features(self) -> dict[str, Floats]:
        """All statistics over all spans."""
        window, columns = self.window, {}
        for span in window.spans:
            found: dict[tuple[Part, bool], NDArray[Any]] = {}
            for stat in window.stats:
                itself = window.includes_self(stat)
                parts = {part: self._once(found, part, span, itself) for part in PARTS[stat]}
                columns[window.name(stat, span)] = read(
                    stat,
                    parts,
                    self.facts.event_time,
                    scale=2.0**-20 if window.of_number else 1.0,
                    empty=np.nan if window.empty is None else window.empty,
                )
        return {name: columns[name] for name in window.names}

    def _once(
        self, found: dict[tuple[Part, bool], NDArray[Any]], part: Part, span: int, itself: bool
    ) -> NDArray[Any]:
        if part == "present" and not self.window.of_number:
            part = "count"
        if (part, itself) not in found:
            found[part, itself] = self._part(part, span, itself=itself)
        return found[part, itself]

    def _part(self, part: Part, span: int, *, itself: bool) -> NDArray[Any]:
        if self.window.of == "fraud" and part in _OF_FRAUDS:
            return _OF_FRAUDS[part](self._fraud_runs(span), len(self.facts))
        return _OF_FACTS[part](self, self._runs(span, valued=part in _OF_VALUES), itself)

    def _runs(self, span: int, *, valued: bool) -> Runs:
        """Where the chosen facts, or those that have a value, are seen by others."""
        valued = valued and self.window.of_number is not None
        if (span, valued) not in self._seen:
            self._seen[span, valued] = self._seen_of(span, self._present if valued else self.chosen)
        return self._seen[span, valued]

    def _seen_of(self, span: int, chosen: Bools | None) -> Runs:
        end = self.line.first_at_offset(self.window.delay + span)
        if chosen is None:
            return Runs.of(self.line.all, self.begin, end)
        fact = np.flatnonzero(chosen)
        return Runs.of(fact, self.begin[fact], end[fact])

    @cached_property
    def _located(self) -> tuple[Ints, Frauds]:
        """The frauds of this timeline's entities, and their codes."""
        code, occurs = self.line.locate(self.frauds.entity)
        return code, self.frauds.take(np.flatnonzero(occurs)).frauds

    def _fraud_runs(self, span: int) -> Runs:
        code, frauds = self._located
        due = frauds.event_time + self.window.delay
        begin = self.line.first_at(code, np.maximum(due, frauds.known))
        end = self.line.first_at(code, np.minimum(due + span, frauds.withdrawn))
        return Runs.of(frauds.event_time, begin, end)

    @property
    def _present(self) -> Bools | None:
        """The chosen facts that have a value."""
        if not self.window.of_number:
            return self.chosen
        filled: Bools = ~np.isnan(self.facts.columns[self.window.of_number])
        return filled if self.chosen is None else self.chosen & filled

    def _own(self, chosen: Bools | None, itself: bool) -> Bools | bool:
        """Which transactions are in their own window."""
        return (True if chosen is None else chosen) if itself else False

    def _sum(self, seen: Runs, values: Ints, itself: bool) -> Ints:
        total = seen.total(values if seen.fact is self.line.all else values[seen.fact], len(values))
        own = self._own(self._present, itself)
        if own is not False:
            total += values if own is True else np.where(own, values, 0)
        return total

    def count(self, seen: Runs, itself: bool) -> Ints:
        """Transactions of the window."""
        total = seen.total(None, len(self.facts))
        total += self._own(self.chosen, itself)
        return total

    def present(self, seen: Runs, itself: bool) -> Ints:
        """Transactions of the window that have a value."""
        total = seen.total(None, len(self.facts))
        total += self._own(self._present, itself)
        return total

    def total(self, seen: Runs, itself: bool) -> Ints:
        """Sum of values."""
        return self._sum(seen, self._whole(), itself)

    def squares(self, limb: int) -> Callable[[Runs, bool], Ints]:
        """Sum of one limb of the values' squares."""
        return lambda seen, itself: self._sum(seen, limbs(self._whole())[limb], itself)

    def extreme(self, ufunc: np.ufunc, seen: Runs, itself: bool) -> Floats:
        """Smallest or largest value."""
        values = self._values()
        found = seen.extreme(values[seen.fact], ufunc, np.nan, len(values))
        own = self._own(self._present, itself)
        if own is False:
            return found
        keep = np.fmin if ufunc is np.minimum else np.fmax
        return np.asarray(keep(found, np.where(own, values, np.nan)))

    def last(self, seen: Runs) -> Ints:
        """Event time of the newest fact."""
        return seen.extreme(self.facts.event_time[seen.fact], np.maximum, NOTHING, len(self.facts))

    def distinct(self, seen: Runs, itself: bool) -> Ints:
        """Different texts."""
        text, chosen = self._texts()
        cover = runs.cover(text, seen.keep(chosen[seen.fact]))
        if itself:
            own = np.flatnonzero(chosen if self.chosen is None else chosen & self.chosen)
            cover = runs.cover(text, seen.keep(chosen[seen.fact]).join(Runs.of(own, own, own + 1)))
        return cover.total(None, len(self.facts))

    def seen(self, seen: Runs) -> Ints:
        """How many carry the own text; -1 without a text."""
        if self.window.of_text is None:
            return seen.total(None, len(self.facts))
        text, filled = self._texts()
        return np.where(filled, runs.own_total(text, seen.keep(filled[seen.fact])), -1)

    def _texts(self) -> tuple[Ints, Bools]:
        """A number per entity and text, and which facts have a text."""
        numbers = self.facts.columns[self.window.of_text or ""]
        text, texts = pd.factorize(numbers)
        return pd.factorize(self.line.code * len(texts) + text)[0], numbers != NO_TEXT

    def _whole(self) -> Ints:
        number = self.window.of_number
        return whole(self.facts.columns[number]) if number else self.facts.columns["amount"]

    def _values(self) -> Floats:
        return np.asarray(self.facts.columns[self.window.of_number or "amount"], np.float64)


_OF_VALUES = frozenset({"present", "total", "squares_high", "squares_mid", "squares_low", "low", "high"})

_OF_FACTS: Mapping[Part, Callable[[_Window, Runs, bool], NDArray[Any]]] = {
    "count": lambda window, seen, itself: window.count(seen, itself),
    "present": lambda window, seen, itself: window.present(seen, itself),
    "total": lambda window, seen, itself: window.total(seen, itself),
    "squares_high": lambda window, seen, itself: window.squares(0)(seen, itself),
    "squares_mid": lambda window, seen, itself: window.squares(1)(seen, itself),
    "squares_low": lambda window, seen, itself: window.squares(2)(seen, itself),
    "low": lambda window, seen, itself: window.extreme(np.minimum, seen, itself),
    "high": lambda window, seen, itself: window.extreme(np.maximum, seen, itself),
    "last": lambda window, seen, itself: window.last(seen),
    "distinct": lambda window, seen, itself: window.distinct(seen, itself),
    "seen": lambda window, seen, itself: window.seen(seen),
}

_OF_FRAUDS: Mapping[Part, Callable[[Runs, int], Ints]] = {
    "total": lambda seen, n: seen.total(None, n),
    "last": lambda seen, n: seen.extreme(seen.fact, np.maximum, NOTHING, n),
}
