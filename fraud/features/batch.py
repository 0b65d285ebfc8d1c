"""The batch executor: windows of whole histories, vectorised over sorted arrays.

A fact (a transaction, a known fraud) is seen by one contiguous run of its entity's later transactions. So a
window's sum is a running total over the transactions in order: every fact adds its value where its run
begins and takes it away where the run ends. Late transactions and late, withdrawn or repeated labels only
move the ends of a run; there is no second path for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraud.features.spec import Window

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Transactions:
    """The transactions of many entities, in any order; every array has shape ``(n,)``.

    Attributes:
        entity: A number per entity, any 64-bit integers.
        event_time: Microseconds since 1970 in UTC.
        tie: Orders transactions of the same instant.
        known_at: Microseconds; not before ``event_time``.
        amount: Minor units of the base currency.
    """

    entity: Ints
    event_time: Ints
    tie: Ints
    known_at: Ints
    amount: Ints

    def take(self, order: Ints) -> Transactions:
        """Return the transactions at these positions."""
        return Transactions(
            self.entity[order],
            self.event_time[order],
            self.tie[order],
            self.known_at[order],
            self.amount[order],
        )


@dataclass(frozen=True, slots=True)
class Frauds:
    """When transactions counted as fraud, in any order; every array has shape ``(m,)``.

    Attributes:
        entity: As in ``Transactions``; entities that do not occur there are ignored.
        event_time: Of the fraudulent transaction, microseconds.
        known: From when on it is known as fraud, microseconds.
        withdrawn: From when on it no longer is.
    """

    entity: Ints
    event_time: Ints
    known: Ints
    withdrawn: Ints


def window_features(
    windows: Sequence[Window], transactions: Transactions, frauds: Frauds
) -> dict[str, Floats]:
    """Compute windows of one entity column for every transaction.

    Args:
        windows: All over the same entity column.
        transactions: In any order.
        frauds: Of the same entities.

    Returns:
        One array of shape ``(n,)`` a feature, in the order of ``transactions``.
    """
    order = np.lexsort((transactions.tie, transactions.event_time, transactions.entity)).astype(np.int64)
    timeline = _Timeline.of(
        transactions.take(order), max((max(w.spans) + w.delay for w in windows), default=0)
    )
    features: dict[str, Floats] = {}
    for window in windows:
        for name, column in _window(window, timeline, frauds).items():
            features[name] = np.empty_like(column)
            features[name][order] = column
    return features


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Sorted transactions on one axis: entity after entity, each shifted past the longest look-back."""

    rows: Transactions
    entities: Ints
    key: Ints
    code: Ints
    origin: int
    stride: int

    @classmethod
    def of(cls, rows: Transactions, reach: int) -> _Timeline:
        entities, code = np.unique(rows.entity, return_inverse=True)
        origin = int(rows.event_time.min()) if len(rows.event_time) else 0
        last = int(rows.event_time.max()) if len(rows.event_time) else 0
        stride = last - origin + reach + 2
        if len(entities) * stride >= 2**63:
            raise OverflowError("too many entities in one partition: raise features.partitions")
        code = code.astype(np.int64)
        return cls(rows, entities, code * stride + (rows.event_time - origin), code, origin, stride)

    def first_at(self, code: Ints, time: Ints) -> Ints:
        """The position of the entity's first transaction at or after a time."""
        inside = np.clip(time - self.origin, 0, self.stride - 1)
        return np.searchsorted(self.key, code * self.stride + inside).astype(np.int64)

    def locate(self, entity: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """The codes of entities, and which of them occur at all."""
        if len(self.entities) == 0:
            return np.zeros(len(entity), np.int64), np.zeros(len(entity), np.bool_)
        code = np.minimum(np.searchsorted(self.entities, entity), len(self.entities) - 1).astype(np.int64)
        return code, self.entities[code] == entity

    def total(self, begin: Ints, end: Ints, value: Ints) -> Ints:
        """For every transaction the sum of the values whose run ``[begin, end)`` holds it."""
        steps = np.zeros(len(self.key) + 1, np.int64)
        seen = begin < end
        np.add.at(steps, begin[seen], value[seen])
        np.subtract.at(steps, end[seen], value[seen])
        return np.cumsum(steps[:-1])


def _window(window: Window, line: _Timeline, frauds: Frauds) -> dict[str, Floats]:
    columns: dict[str, Floats] = {}
    begin = _begin(window, line)
    for span in window.spans:
        end = line.first_at(line.code, line.rows.event_time + window.delay + span)
        count = _transaction_total(window, line, begin, end, np.ones_like(line.rows.amount))
        for stat in window.stats:
            name = window.name(stat, span)
            if stat == "count":
                columns[name] = count.astype(np.float64)
                continue
            if window.of == "amount":
                total = _transaction_total(window, line, begin, end, line.rows.amount)
            else:
                total = _fraud_total(window, line, frauds, span)
            columns[name] = _read(stat, count, total, np.nan if window.empty is None else window.empty)
    return columns


def _read(stat: str, count: Ints, total: Ints, empty: float) -> Floats:
    filled = count > 0
    value = np.full(len(count), empty, np.float64)
    if stat == "sum":
        value[filled] = total[filled]
    else:
        np.divide(total.astype(np.float64), count.astype(np.float64), out=value, where=filled)
    return value


def _begin(window: Window, line: _Timeline) -> Ints:
    """Where every transaction is first seen by another one."""
    rows = line.rows
    if window.delay:
        return line.first_at(line.code, np.maximum(rows.event_time + window.delay, rows.known_at))
    following = np.arange(1, len(rows.event_time) + 1, dtype=np.int64)
    late = rows.known_at > rows.event_time
    following[late] = line.first_at(line.code[late], rows.known_at[late])
    return following


def _transaction_total(window: Window, line: _Timeline, begin: Ints, end: Ints, value: Ints) -> Ints:
    total = line.total(begin, end, value)
    return total + value if window.include_self and not window.delay else total


def _fraud_total(window: Window, line: _Timeline, frauds: Frauds, span: int) -> Ints:
    code, occurs = line.locate(frauds.entity)
    code, event_time = code[occurs], frauds.event_time[occurs]
    due = event_time + window.delay
    begin = line.first_at(code, np.maximum(due, frauds.known[occurs]))
    end = line.first_at(code, np.minimum(due + span, frauds.withdrawn[occurs]))
    return line.total(begin, end, np.ones_like(event_time))
