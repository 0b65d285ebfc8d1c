"""The online executor: what one transaction sees of its entities' pasts, then recorded into them.

The edges are those of ``fraud.features.window``, the formulas those of ``fraud.features.statistics``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from fraud.features.facts import STATUS_TIME, Floats, pair_number, text_number
from fraud.features.kind import Rows
from fraud.features.layout import KeyLayout, Layout
from fraud.features.packed import AMOUNT, Packed
from fraud.features.past import Pages, Past
from fraud.features.reading import Reading
from fraud.features.row import add_row_features
from fraud.features.spec import FeatureSet
from fraud.features.walk import Asker
from fraud.schema import tie


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
        """Return a numeric attribute, NaN where it is missing or a text, as the lake would have it."""
        value = self.attributes.get(name)
        return np.nan if value is None or isinstance(value, str) else float(value)

    def text(self, name: str) -> int:
        """Return the number of a text, ``NO_TEXT`` where it is missing or a number."""
        if name == "kind":
            return text_number(self.kind)
        value = self.entities[name] if name in self.entities else self.attributes.get(name)
        return text_number(value if isinstance(value, str) else None)

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
    columns: list[float] = []
    for name, kind in key.columns.items():
        if name == AMOUNT:
            columns.append(amount)
        elif name == STATUS_TIME:
            columns.append(0)
        else:
            columns.append(transaction.number(name) if kind == "<f8" else transaction.text(name))
    form = key.transactions.format
    flags = form.flags_of(is_late=False, is_wide=AMOUNT in key.columns and not -(2**31) <= amount < 2**31)
    packed = form.packers[flags].pack(transaction.event_time_us, transaction.tie, *columns)
    return np.frombuffer(packed, form.types[flags])


class EntityPast:
    """What is stored of one entity: its transactions, and the labels of its frauds."""

    def __init__(self, key: KeyLayout, pages: Pages, entity: int) -> None:
        self.transactions = Past(key.transactions, pages, entity)
        self.labels = None if key.labels is None else Past(key.labels, pages, entity)


_NOBODY: Final = OnlineTransaction("", 0, "purchase", 0, "EUR", 0, {}, {})


class _Columns(dict[str, Floats]):
    """Features by name: those added, and the windows, which are rows of a matrix."""

    def __init__(self, place: Mapping[str, int], matrix: Floats) -> None:
        super().__init__()
        self._place = place
        self.matrix = matrix

    def __missing__(self, name: str) -> Floats:
        """A window, shape ``(transactions,)``."""
        window: Floats = self.matrix[self._place[name]]
        return window


class OnlineFeatures:
    """A feature set made ready for a state's layout."""

    def __init__(self, feature_set: FeatureSet, layout: Layout) -> None:
        self._feature_set = feature_set
        declared = [name for declaration in feature_set.declarations for name in declaration.texts]
        self._texts = tuple(dict.fromkeys(declared))
        self._reading = Reading(feature_set, layout)
        self._place = {name: place for place, name in enumerate(self._reading.names)}
        self.read(_NOBODY, {})  # what is not compiled yet is compiled now, some seconds at worst

    def read(self, transaction: OnlineTransaction, pasts: Mapping[str, EntityPast]) -> Floats:
        """Compute the features of one transaction.

        Args:
            transaction: The one to score.
            pasts: By the name of the entity, with the transaction itself recorded; an entity is left out
                where the transaction has no such id.

        Returns:
            Shape ``(features,)``, in the order of ``feature_set.names``.
        """
        features: Floats = self.read_all([(transaction, pasts)], 1)[0]
        return features

    def read_all(
        self, observed: Iterable[tuple[OnlineTransaction, Mapping[str, EntityPast]]], most: int
    ) -> Floats:
        """Compute the features of several transactions.

        Args:
            observed: Transactions, each with its pasts as ``read`` takes them. The pasts of one are read
                before the next one is asked for, which may be recorded then.
            most: How many there can be.

        Returns:
            Shape ``(transactions, features)``.
        """
        columns = _Columns(self._place, np.empty((len(self._place), most)))
        transactions = []
        for row, (transaction, pasts) in enumerate(observed):
            self._read_windows(transaction, pasts, columns.matrix, row)
            transactions.append(transaction)
        columns.matrix = columns.matrix[:, : len(transactions)]
        rows = Rows(
            self._feature_set.time_zone,
            np.array([one.event_time_us for one in transactions], np.int64),
            np.array([one.amount_base_minor for one in transactions], np.int64),
            {
                name: np.array([one.number(name) for one in transactions], np.float64)
                for name in self._feature_set.numbers
            },
            {name: np.array([one.text(name) for one in transactions], np.int64) for name in self._texts},
            columns,
        )
        add_row_features(self._feature_set, rows)
        for name, column in columns.items():
            columns.matrix[self._place[name]] = column
        return columns.matrix[: len(self._feature_set.names)].T

    def _read_windows(
        self, transaction: OnlineTransaction, pasts: Mapping[str, EntityPast], found: Floats, row: int
    ) -> None:
        """Fill a column of the windows' features."""
        tracks: list[Past | None] = []
        for name, is_of_labels in self._reading.tracks:
            past = pasts.get(name)
            tracks.append(None if past is None else past.labels if is_of_labels else past.transactions)
        texts = np.array([transaction.text(name) for name in self._reading.texts], np.int64)
        asker = Asker(transaction.event_time_us, transaction.tie, texts)
        self._reading.read(tracks, asker, found, row)
