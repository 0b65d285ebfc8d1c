"""The online executor over a dictionary, fed as the state feeds it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from executors import entity_of, facts_of

from fraud.features.definition import Event
from fraud.features.layout import Layout
from fraud.features.online import EntityPast, OnlineFeatures, OnlineTransaction, record_of
from fraud.features.past import MemoryPages
from fraud.features.spec import FeatureSet
from fraud.features.track import LABELS

SOURCES = ("api", "bank")


def online_transaction(x: Event) -> OnlineTransaction:
    attributes = {**x.numbers, **x.texts}
    return OnlineTransaction(x.id, x.time, x.kind, x.amount, "EUR", x.amount, x.entities, attributes)


class OnlineState:
    """Pasts in a dictionary."""

    def __init__(self, feature_sets: Sequence[FeatureSet]) -> None:
        self.layout = Layout.of(feature_sets)
        self.pages = MemoryPages()
        self._rank = np.argsort(np.argsort(SOURCES)).astype(np.int64)

    def insert(self, feature_set: FeatureSet, event: Event) -> None:
        """Bring a transaction in as the lake has it."""
        for key in self.layout.keys.values():
            if event.kind in key.kinds and all(event.text(column) for column in key.entity):
                form = key.transactions.format
                rows = form.narrow(form.records(facts_of(feature_set, [event])))
                past = EntityPast(key, self.pages, int(entity_of(key.entity, [event])[0])).transactions
                past.insert(rows)
                past.save()

    def label(self, event: Event, said: tuple[int, str, bool]) -> None:
        for key in self.layout.labelled:
            if all(event.text(column) for column in key.entity):
                past = EntityPast(key, self.pages, int(entity_of(key.entity, [event])[0])).labels
                row = (event.time, event.tie, said[0], SOURCES.index(said[1]), said[2])
                past.insert(np.array([row], LABELS.types[0]), self._rank)
                past.save()

    def features(self, feature_set: FeatureSet, x: Event, *, record: bool = False) -> dict[str, float]:
        """Query; then record, where asked."""
        transaction, pasts = online_transaction(x), {}
        for name, key in self.layout.keys.items():
            entity = transaction.entity(key.entity)
            if entity is None:
                continue
            pasts[name] = EntityPast(key, self.pages, entity)
            row = record_of(key, transaction)
            if row is not None:
                pasts[name].transactions.insert(row)
        found = OnlineFeatures(feature_set, self.layout).read(transaction, pasts)
        if record:
            for past in pasts.values():
                past.transactions.save()
        return dict(zip(feature_set.names, found.tolist(), strict=True))
