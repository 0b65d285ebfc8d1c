"""The online executor: what one transaction sees of its entities' pasts, then recorded into them.

The edges are those of ``fraud.features.window``, the formulas those of ``fraud.features.statistics``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from fraud.features.facts import NO_TEXT, STATUS_TIME, Floats, Ints, pair_number, text_number
from fraud.features.kind import Rows
from fraud.features.kinds.window import Window
from fraud.features.layout import KeyLayout, Layout, number_of
from fraud.features.packed import AMOUNT, Packed
from fraud.features.past import Pages, Past
from fraud.features.reading import Ask, Asker, Column, read_parts
from fraud.features.row import row_features
from fraud.features.spec import FeatureSet
from fraud.features.statistics import PARTS, Part, Stat, read
from fraud.schema import tie

_UNIT: Final = 2.0**-20
"""Of a numeric attribute in whole numbers."""


@dataclass(frozen=True)
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
        tie: Orders transactions of the same instant; follows from the id.
    """

    transaction_id: str
    event_time_us: int
    kind: str
    amount_minor: int
    currency: str
    amount_base_minor: int
    entities: Mapping[str, str | None]
    attributes: Mapping[str, float | str | None]
    tie: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tie", tie(self.transaction_id))

    def number(self, name: str) -> float:
        """Return a numeric attribute, NaN where it is missing."""
        value = self.attributes.get(name)
        return np.nan if value is None else float(value)

    def text(self, name: str) -> int:
        """Return the number of a text, ``NO_TEXT`` where it is missing; a request never has a status."""
        if name == "kind":
            return text_number(self.kind)
        value = self.entities[name] if name in self.entities else self.attributes.get(name)
        return text_number(None if value is None else str(value))

    def entity(self, columns: tuple[str, ...]) -> int | None:
        """Return the number of an entity, None where the transaction has no such id."""
        if len(columns) == 1:
            value = self.entities.get(columns[0])
            return None if value is None else text_number(value)
        ids = [self.entities.get(column) for column in columns]
        if None in ids:
            return None
        return int(pair_number(*(np.int64(text_number(value)) for value in ids)))


def record_of(key: KeyLayout, transaction: OnlineTransaction) -> Packed | None:
    """Return what an entity keeps of a transaction, shape ``(1,)``; None where its kind enters no window."""
    if transaction.kind not in key.kinds:
        return None
    amount = transaction.amount_base_minor
    columns: list[Any] = []
    for name, kind in key.columns.items():
        if name == AMOUNT:
            columns.append(amount)
        elif name == STATUS_TIME:
            columns.append(0)
        else:
            columns.append(transaction.number(name) if kind == "<f8" else transaction.text(name))
    form = key.transactions.format
    wide = AMOUNT in key.columns and not -(2**31) <= amount < 2**31
    row = (transaction.event_time_us, transaction.tie, *columns)
    return np.array([row], form.type_of(is_late=False, is_wide=wide))


class EntityPast:
    """What is stored of one entity: its transactions, and the labels of its frauds."""

    def __init__(self, key: KeyLayout, pages: Pages, entity: int) -> None:
        self.transactions = Past(key.transactions, pages, entity)
        self.labels = None if key.labels is None else Past(key.labels, pages, entity)


class OnlineFeatures:
    """A feature set made ready for a state's layout."""

    def __init__(self, feature_set: FeatureSet, layout: Layout) -> None:
        self._feature_set = feature_set
        declared = [name for declaration in feature_set.declarations for name in declaration.texts]
        self._texts = tuple(dict.fromkeys(declared))
        self._windows = [
            (name, _WindowPlan(window, layout.keys[name]))
            for name, windows in feature_set.keys.items()
            for window in windows
        ]

    def read(self, transaction: OnlineTransaction, pasts: Mapping[str, EntityPast]) -> Floats:
        """Compute the features of one transaction.

        Args:
            transaction: The one to score.
            pasts: By the name of the entity, with the transaction itself recorded; an entity is left out
                where the transaction has no such id.

        Returns:
            Shape ``(features,)``, in the order of ``feature_set.names``.
        """
        rows = Rows(
            self._feature_set.time_zone,
            np.array([transaction.event_time_us]),
            np.array([transaction.amount_base_minor]),
            {name: np.array([transaction.number(name)]) for name in self._feature_set.numbers},
            {name: np.array([transaction.text(name)]) for name in self._texts},
        )
        for name, window in self._windows:
            past = pasts.get(name)
            found = window.missing if past is None else window.features(transaction, past, rows.event_time)
            rows.features.update(found)
        return np.array([column.item() for column in row_features(self._feature_set, rows).values()])


class _WindowPlan:
    """One window: what it asks of the state, and what becomes of the answer.

    Attributes:
        missing: Its features where the transaction has no such entity.
    """

    def __init__(self, window: Window, key: KeyLayout) -> None:
        parts = tuple(dict.fromkeys(part for stat in window.stats for part in PARTS[stat]))
        self._is_of_fraud = window.of == "fraud"
        self._stats: list[tuple[Stat, list[tuple[str, slice]]]] = [
            (
                stat,
                [
                    (window.name(stat, span), slice(place, place + 1))
                    for place, span in enumerate(window.spans)
                ],
            )
            for stat in window.stats
        ]
        self.missing = dict.fromkeys(window.names, np.array([np.nan]))
        self._text = window.of_text
        self._scale = _UNIT if window.of_number else 1.0
        self._empty = np.nan if window.empty is None else window.empty
        self._ask = Ask(
            key.transactions,
            key.reading(window),
            _of_transactions(parts) if self._is_of_fraud else parts,
            window.delay,
            np.array(window.spans, np.int64),
            itself=window.includes_self("count"),
            number=number_of(window),
            text=window.of_text,
        )
        self._ask_frauds = None
        if self._is_of_fraud and key.labels is not None:
            self._ask_frauds = Ask(key.labels, 0, _of_frauds(parts), window.delay, self._ask.spans)

    def features(
        self, transaction: OnlineTransaction, past: EntityPast, event_time: Ints
    ) -> dict[str, Floats]:
        """Each of shape ``(1,)``, as ``event_time`` is."""
        parts = self._parts(transaction, past)
        found = {}
        for stat, names in self._stats:
            values = read(stat, parts, event_time, scale=self._scale, empty=self._empty)
            for name, place in names:
                found[name] = values[place]
        return found

    def _parts(self, transaction: OnlineTransaction, past: EntityPast) -> dict[Part, Column]:
        own = NO_TEXT if self._text is None else transaction.text(self._text)
        asker = Asker(transaction.event_time_us, transaction.tie, own)
        parts = read_parts(past.transactions, self._ask, asker) if self._ask.parts else {}
        if self._ask_frauds is None or past.labels is None:
            return parts
        if "count" in parts:
            parts["present"] = parts["count"]
        for part, column in read_parts(past.labels, self._ask_frauds, asker).items():
            parts["total" if part == "count" else part] = column
        return parts


def _of_transactions(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return ("count",) if {"count", "present"} & set(parts) else ()


def _of_frauds(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """A total of frauds is a count of labels by which a transaction counts as one."""
    named: dict[Part, Part] = {"total": "count", "last": "last"}
    return tuple(named[part] for part in parts if part in named)
