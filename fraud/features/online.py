"""The online executor: what one transaction sees of its entities' pasts, then recorded into them.

``EntityHistory`` is the past of one entity as arrays; ``online_features`` reads it, ``record`` and ``label``
return what it becomes. The edges are those of ``fraud.features.window``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud.features.row import row_features
from fraud.features.spec import FeatureSet, Window
from fraud.features.window import fraud_spans
from fraud.schema import tie

Ints = NDArray[np.int64]
Label = tuple[int, str, bool]
"""(label_time, source, is_fraud)"""

_NONE: Ints = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class OnlineTransaction:
    """A transaction as the endpoint receives it.

    Attributes:
        transaction_id: Its id.
        event_time_us: Microseconds since 1970 in UTC.
        kind: One of ``fraud.schema.KINDS``.
        amount_minor: Minor units of ``currency``.
        currency: ISO-4217 code.
        amount_base_minor: Minor units of the base currency.
        entities: Id per entity column, None where the transaction has none.
        attributes: Value per attribute, None where missing.
    """

    transaction_id: str
    event_time_us: int
    kind: str
    amount_minor: int
    currency: str
    amount_base_minor: int
    entities: Mapping[str, str | None]
    attributes: Mapping[str, float | str | None]

    @property
    def tie(self) -> int:
        """Orders transactions of the same instant."""
        return tie(self.transaction_id)


@dataclass(frozen=True, slots=True)
class EntityHistory:
    """The transactions of one entity in the order (event_time, tie), and the labels of the labelled ones.

    Attributes:
        event_time: Microseconds, shape ``(n,)``.
        tie: Shape ``(n,)``.
        known_at: Microseconds, shape ``(n,)``.
        amount: Minor units of the base currency, shape ``(n,)``.
        labels: Per labelled transaction (by event time and tie) its labels in any order.
    """

    event_time: Ints = field(default_factory=lambda: _NONE)
    tie: Ints = field(default_factory=lambda: _NONE)
    known_at: Ints = field(default_factory=lambda: _NONE)
    amount: Ints = field(default_factory=lambda: _NONE)
    labels: Mapping[tuple[int, int], tuple[Label, ...]] = field(default_factory=dict)

    def position(self, event_time: int, tie: int) -> int:
        """Where a transaction stands, or would be inserted."""
        begin = int(np.searchsorted(self.event_time, event_time, "left"))
        end = int(np.searchsorted(self.event_time, event_time, "right"))
        return begin + int(np.searchsorted(self.tie[begin:end], tie, "left"))

    def record(self, event_time: int, tie: int, known_at: int, amount: int) -> EntityHistory:
        """Return the history with one more transaction."""
        at = self.position(event_time, tie)
        return replace(
            self,
            event_time=np.insert(self.event_time, at, event_time),
            tie=np.insert(self.tie, at, tie),
            known_at=np.insert(self.known_at, at, known_at),
            amount=np.insert(self.amount, at, amount),
        )

    def label(self, event_time: int, tie: int, label: Label) -> EntityHistory:
        """Return the history with a label of one of its transactions; a repeated one changes nothing."""
        present = self.labels.get((event_time, tie), ())
        if label in present:
            return self
        return replace(self, labels={**self.labels, (event_time, tie): (*present, label)})

    def since(self, oldest: int) -> EntityHistory:
        """Return the history without what happened before a time."""
        keep = int(np.searchsorted(self.event_time, oldest, "left"))
        return EntityHistory(
            self.event_time[keep:],
            self.tie[keep:],
            self.known_at[keep:],
            self.amount[keep:],
            {key: labels for key, labels in self.labels.items() if key[0] >= oldest},
        )


def online_features(
    feature_set: FeatureSet, transaction: OnlineTransaction, histories: Mapping[str, EntityHistory]
) -> NDArray[np.float64]:
    """Compute the features of one transaction that is not yet in its entities' histories.

    Args:
        feature_set: What to compute.
        transaction: The one to score.
        histories: Per entity column its history; a column is left out where the transaction has no such id.

    Returns:
        Shape ``(features,)``, in the order of ``feature_set.names``.
    """
    values = {name: float(column[0]) for name, column in _row(feature_set, transaction).items()}
    for window in feature_set.windows:
        values.update(_window(window, transaction, histories.get(window.window)))
    return np.array([values[name] for name in feature_set.names], np.float64)


def _row(feature_set: FeatureSet, transaction: OnlineTransaction) -> dict[str, NDArray[np.float64]]:
    attributes = transaction.attributes
    return row_features(
        feature_set,
        np.array([transaction.event_time_us], np.int64),
        np.array([transaction.amount_base_minor], np.int64),
        {name: np.array([_number(attributes.get(name))], np.float64) for name in feature_set.numbers},
        {name: [_text(attributes.get(name))] for name in feature_set.categories},
    )


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _window(
    window: Window, transaction: OnlineTransaction, history: EntityHistory | None
) -> dict[str, float]:
    if history is None:
        return dict.fromkeys(window.names, np.nan)
    values: dict[str, float] = {}
    for span in window.spans:
        count, amount = _seen(window, transaction, history, span)
        for stat in window.stats:
            if stat == "count":
                values[window.name(stat, span)] = float(count)
                continue
            total = amount if window.of == "amount" else _frauds(window, transaction, history, span)
            values[window.name(stat, span)] = _read(window, stat, count, total)
    return values


def _read(window: Window, stat: str, count: int, total: int) -> float:
    if count == 0:
        return np.nan if window.empty is None else window.empty
    return float(total) if stat == "sum" else float(total) / float(count)


def _seen(
    window: Window, transaction: OnlineTransaction, history: EntityHistory, span: int
) -> tuple[int, int]:
    """How many transactions a window holds, and their total amount."""
    now = transaction.event_time_us
    begin = int(np.searchsorted(history.event_time, now - window.delay - span, "right"))
    if window.delay:
        end = int(np.searchsorted(history.event_time, now - window.delay, "right"))
    else:
        end = history.position(now, transaction.tie)
    known = history.known_at[begin:end] <= now
    count, total = int(np.count_nonzero(known)), int(history.amount[begin:end][known].sum())
    if window.include_self and not window.delay:
        return count + 1, total + transaction.amount_base_minor
    return count, total


def _frauds(window: Window, transaction: OnlineTransaction, history: EntityHistory, span: int) -> int:
    """How many transactions of a window were known as fraud at the time of the transaction."""
    now = transaction.event_time_us
    return sum(
        any(known <= now < withdrawn for known, withdrawn in fraud_spans(labels))
        for (event_time, _), labels in history.labels.items()
        if now - window.delay - span < event_time <= now - window.delay
    )
