"""What a state of one layout reads and writes inside a transaction of its store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from fraud.errors import ConfigError, ConflictError
from fraud.features.facts import NO_TEXT, Floats, Ints
from fraud.features.layout import KeyLayout
from fraud.features.online import EntityPast, OnlineFeatures, OnlineTransaction, record_of
from fraud.features.packed import Packed
from fraud.features.past import Pages
from fraud.features.spec import FeatureSet
from fraud.features.track import LABELS
from fraud.schema import tie as tie_of_id
from fraud.storage.journal_facts import Fact, Said, Seen, digest_of
from fraud.storage.state_keys import (
    MARK_BYTES,
    About,
    Known,
    Sources,
    answer_key,
    id_key,
    known_value,
    moment_key,
    read_known,
)

ANSWERS_US: Final = 2 * 86_400_000_000
"""How long answers are kept."""

_Entities = Sequence[int | None]
"""The numbers of a transaction's entities, in the layout's order; None for one it does not have."""


class Records:
    """The records of a state.

    Attributes:
        about: What the state is.
        layout: What it keeps.
    """

    def __init__(self, about: About) -> None:
        self.about = about
        self.layout = about.layout
        self._keys = tuple(self.layout.keys.items())
        self._labelled = len(self.layout.labelled)
        self._covered: dict[str, bool] = {}
        self._ready: dict[str, OnlineFeatures] = {}

    def covers(self, feature_set: FeatureSet) -> bool:
        """Return whether the state answers every window of a feature set."""
        if feature_set.version not in self._covered:
            self._covered[feature_set.version] = self.layout.covers(feature_set)
        return self._covered[feature_set.version]

    def check(self, feature_set: FeatureSet) -> None:
        """Raise ConfigError where the state does not answer a feature set."""
        if not self.covers(feature_set):
            raise ConfigError(
                "online state",
                f"it keeps less than the features {feature_set.name} ({feature_set.version}) need: "
                "run `fraud state build` with all feature sets it is to serve",
            )

    def prepare(self, feature_set: FeatureSet) -> None:
        """Make ready to compute a feature set; raise ConfigError where the state does not answer it."""
        self._features(feature_set)

    def observe(
        self, pages: Pages, feature_set: FeatureSet, transaction: OnlineTransaction, digest: bytes
    ) -> Floats | bytes:
        """Return the stored answer, or the features of a transaction that is recorded now or was before."""
        ready = self._features(feature_set)
        found = self._answer_or_pasts(pages, transaction, digest)
        return found if isinstance(found, bytes) else ready.read(transaction, found)

    def observe_all(
        self, pages: Pages, feature_set: FeatureSet, items: Sequence[tuple[OnlineTransaction, bytes]]
    ) -> list[Floats | bytes | ConflictError]:
        """Return of each transaction what ``observe`` returns or raises."""
        ready = self._features(feature_set)
        found: dict[int, Floats | bytes | ConflictError] = {}
        unanswered: list[int] = []

        def observed() -> Iterator[tuple[OnlineTransaction, dict[str, EntityPast]]]:
            for place, (transaction, digest) in enumerate(items):
                try:
                    one = self._answer_or_pasts(pages, transaction, digest)
                except ConflictError as error:
                    found[place] = error
                    continue
                if isinstance(one, bytes):
                    found[place] = one
                    continue
                unanswered.append(place)
                yield transaction, one

        features = ready.read_all(observed(), len(items))
        found |= zip(unanswered, features, strict=True)
        return [found[place] for place in range(len(items))]

    def peek(self, pages: Pages, feature_set: FeatureSet, transaction: OnlineTransaction) -> Floats:
        """Return the features of a recorded transaction."""
        pasts = self._recorded(pages, transaction, self._entities(transaction))
        return self._features(feature_set).read(transaction, pasts)

    def record(self, pages: Pages, transaction: OnlineTransaction, digest: bytes) -> bool:
        """Record a transaction; return False where it is known."""
        return self._admit(pages, transaction, self._entities(transaction), digest) is not None

    def keep(self, pages: Pages, transaction: OnlineTransaction, body: bytes, stored_us: int) -> bytes:
        """Store an answer where there is none, and return the one that is stored.

        The transaction may have been observed in the state that this one followed: it is recorded here too.
        """
        key = answer_key(transaction.tie)
        present = pages.get(key)
        if present is not None:
            return present
        if pages.get(id_key(transaction.tie)) is None:
            self.record(pages, transaction, digest_of(body))
        pages.put(key, body)
        pages.put(moment_key(stored_us, transaction.tie), b"")
        return body

    def label(
        self, pages: Pages, transaction_id: str, label_time_us: int, source: str, is_fraud: bool
    ) -> bool:
        """Add a label; return False where the transaction is not known here."""
        tie = tie_of_id(transaction_id)
        known = read_known(pages, tie, self._labelled)
        if known is None:
            return False
        sources = Sources.read(pages)
        if source not in sources.names:
            sources = sources.with_names({source})
            pages.put(*sources.to_item())
        row = (known.event_time, tie, label_time_us, sources.names.index(source), is_fraud)
        for key, entity in zip(self.layout.labelled, known.entities, strict=True):
            if entity != NO_TEXT:
                _insert_label(pages, key, entity, np.array([row], LABELS.types[0]), sources.rank())
        return True

    def replay(self, pages: Pages, facts: Iterable[Fact], now_us: int) -> int:
        """Take facts in that may be here already, with answers that are not too old.

        Returns:
            How many contradict what is here, and were left out.
        """
        conflicts = 0
        for fact in facts:
            if isinstance(fact, Said):
                self.label(pages, fact.transaction_id, fact.label_time_us, fact.source, fact.is_fraud)
                continue
            try:
                self._replay(pages, fact, now_us)
            except ConflictError:
                conflicts += 1
        return conflicts

    def _replay(self, pages: Pages, seen: Seen, now_us: int) -> None:
        self.record(pages, seen.transaction, seen.digest)
        if seen.body is not None and seen.decided_us > now_us - ANSWERS_US:
            self.keep(pages, seen.transaction, seen.body, seen.decided_us)

    def _features(self, feature_set: FeatureSet) -> OnlineFeatures:
        if feature_set.version not in self._ready:
            self.check(feature_set)
            self._ready[feature_set.version] = OnlineFeatures(feature_set, self.layout)
        return self._ready[feature_set.version]

    def _answer_or_pasts(
        self, pages: Pages, transaction: OnlineTransaction, digest: bytes
    ) -> bytes | dict[str, EntityPast]:
        entities = self._entities(transaction)
        pasts = self._admit(pages, transaction, entities, digest)
        if pasts is not None:
            return pasts
        answer = pages.get(answer_key(transaction.tie))
        return self._recorded(pages, transaction, entities) if answer is None else answer

    def _admit(
        self, pages: Pages, transaction: OnlineTransaction, entities: _Entities, digest: bytes
    ) -> dict[str, EntityPast] | None:
        """Record a transaction and return the pasts with it in them; None where it is known."""
        known = read_known(pages, transaction.tie, self._labelled)
        mine = self._known(transaction, entities, digest[:MARK_BYTES])
        if known not in (None, mine, Known(mine.event_time, mine.entities)):
            raise ConflictError(transaction.transaction_id)
        if known != mine:
            pages.put(id_key(transaction.tie), known_value(mine))
        if known is not None:
            return None
        pasts = self._recorded(pages, transaction, entities)
        for past in pasts.values():
            past.transactions.save()
        return pasts

    def _entities(self, transaction: OnlineTransaction) -> _Entities:
        return [transaction.entity(key.entity) for _, key in self._keys]

    def _known(self, transaction: OnlineTransaction, entities: _Entities, mark: bytes) -> Known:
        numbers = [
            NO_TEXT if entity is None else entity
            for entity, (_, key) in zip(entities, self._keys, strict=True)
            if key.labels is not None
        ]
        return Known(transaction.event_time_us, tuple(numbers), mark)

    def _recorded(
        self, pages: Pages, transaction: OnlineTransaction, entities: _Entities
    ) -> dict[str, EntityPast]:
        """The pasts of the transaction's entities with the transaction in them, not saved."""
        pasts = {}
        for entity, (name, key) in zip(entities, self._keys, strict=True):
            if entity is None:
                continue
            pasts[name] = EntityPast(key, pages, entity)
            row = record_of(key, transaction)
            if row is not None:
                pasts[name].transactions.insert(row)
        return pasts


def _insert_label(pages: Pages, key: KeyLayout, entity: int, row: Packed, rank: Ints) -> None:
    past = EntityPast(key, pages, entity).labels
    if past is not None:
        past.insert(row, rank)
        past.save()
