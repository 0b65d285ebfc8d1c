"""The online state: what a scoring replica must remember of every entity, and what it answered.

A transaction is queried and recorded in one transaction of the store, so replicas never interleave; it is
decided upon outside of it, and the first decision stored is the answer. A state holds what its layout says
and serves every feature set that the layout covers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from fraud.errors import ConfigError, ConflictError
from fraud.features.facts import NO_TEXT, Floats, Ints
from fraud.features.layout import KeyLayout, Layout
from fraud.features.online import EntityPast, OnlineFeatures, OnlineTransaction, record_of
from fraud.features.packed import Packed
from fraud.features.past import Pages, Past
from fraud.features.spec import FeatureSet
from fraud.features.track import LABELS, Track
from fraud.schema import tie as tie_of
from fraud.storage.state_keys import (
    FORMAT_VERSION,
    MARK_BYTES,
    About,
    Known,
    Sources,
    answer_key,
    answer_of,
    answer_value,
    id_key,
    known_value,
    newest_item,
    read_about,
    read_known,
    read_newest,
)
from fraud.storage.state_store import Item, LmdbStore, Store

LATE_US: Final = 86_400_000_000
"""How much older than the newest facts a transaction may be and still see its whole windows: a day."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes to answer with; ``fresh`` is false where they were given before."""

    body: bytes
    fresh: bool


def create(path: Path, about: About, *, items: Iterable[Item] = (), sources: Sources | None = None) -> None:
    """Write a new state into a folder that holds none.

    Args:
        path: Where.
        about: What it is.
        items: Its pasts and ids, in the order of their keys.
        sources: Of the labels among them.
    """
    path.mkdir(parents=True)
    store = LmdbStore(path, create=True)
    store.load(items)
    last = [(b"\xf2about", about.to_bytes()), newest_item(about.as_of_us), (sources or Sources(())).to_item()]
    store.load(last)
    store.sync()
    store.close()


def empty(layout: Layout, as_of: datetime) -> About:
    """Return what a state without facts is."""
    at = round(as_of.timestamp() * 1_000_000)
    return About(FORMAT_VERSION, layout.to_json(), LATE_US, at, at, None, None)


class OnlineState:
    """An open state."""

    def __init__(self, store: Store) -> None:
        """Use a state in a store.

        Raises:
            FormatVersionError: It was written in another format.
        """
        self._store = store
        self.about = store.read(read_about)
        self.layout = self.about.layout
        self._ready: dict[str, OnlineFeatures] = {}

    @classmethod
    def open(cls, path: Path) -> OnlineState:
        """Open the state in a folder, for the processes of this node.

        Raises:
            ConfigError: There is none.
            FormatVersionError: It was written in another format.
        """
        return cls(LmdbStore(path))

    def close(self) -> None:
        """Release the store."""
        self._store.close()

    def known_as_of(self) -> datetime:
        """Up to when the lake's facts were brought in."""
        return datetime.fromtimestamp(self._store.read(read_about).as_of_us / 1e6, UTC)

    def check(self, feature_set: FeatureSet) -> None:
        """Check that the state answers a feature set.

        Raises:
            ConfigError: It keeps less than the windows need.
        """
        if not self.layout.covers(feature_set):
            raise ConfigError(
                "online state",
                f"it keeps less than the features {feature_set.name} ({feature_set.version}) need: "
                "run `fraud state build` with all feature sets it is to serve",
            )

    def score(
        self,
        feature_set: FeatureSet,
        transaction: OnlineTransaction,
        digest: bytes,
        decide: Callable[[Floats], bytes],
    ) -> Answer:
        """Record a transaction once, and answer it.

        Args:
            feature_set: What to compute.
            transaction: The one to score.
            digest: Of its canonical request; the same id must come with the same digest.
            decide: From its features, shape ``(features,)``, to the bytes of the answer. Where it raises, the
                transaction stays recorded, and is decided upon when it is sent again.

        Raises:
            ConfigError: The state keeps less than the feature set needs.
            ConflictError: The id came before with another request, or from the lake with other content.
        """
        ready = self._features(feature_set)
        found = self._store.transact(
            lambda pages: self._query(pages, ready, transaction, digest[:MARK_BYTES])
        )
        if isinstance(found, bytes):
            return Answer(found, fresh=False)
        body = decide(found)
        kept = self._store.transact(lambda pages: _answered(pages, transaction, body))
        return Answer(kept, fresh=kept is body)

    def label(self, transaction_id: str, label_time_us: int, source: str, is_fraud: bool) -> bool:
        """Add a label; return False where the transaction is not known here."""
        tie = tie_of(transaction_id)
        return self._store.transact(lambda pages: self._label(pages, tie, label_time_us, source, is_fraud))

    def insert(self, track: Track, rows: Mapping[int, Packed]) -> None:
        """Bring records of the lake in, in one transaction; those that are there already are replaced.

        Args:
            track: Of these records.
            rows: By entity, each in order and with no more flags than they need.
        """

        def work(pages: Pages) -> None:
            rank = Sources.read(pages).rank()
            for entity, new in rows.items():
                past = Past(track, pages, entity)
                past.insert(new, oldest=self._oldest(pages, track), rank=rank)
                past.save()

        self._store.transact(work)

    def _features(self, feature_set: FeatureSet) -> OnlineFeatures:
        if feature_set.version not in self._ready:
            self.check(feature_set)
            self._ready[feature_set.version] = OnlineFeatures(feature_set, self.layout)
        return self._ready[feature_set.version]

    def _query(
        self, pages: Pages, ready: OnlineFeatures, transaction: OnlineTransaction, mark: bytes
    ) -> bytes | Floats:
        """Return the stored answer, or the features of a transaction that is recorded now or was before."""
        known = read_known(pages, transaction.tie, len(self.layout.labelled))
        mine = self._known(transaction, mark)
        if known is not None:
            if known not in (mine, Known(mine.event_time, mine.entities)):
                raise ConflictError(transaction.transaction_id)
            answer = pages.get(answer_key(transaction.tie))
            if answer is not None:
                return answer_of(answer)[1]
        pasts = self._recorded(pages, transaction)
        if known is None:
            for past in pasts.values():
                past.transactions.save()
        if known != mine:
            pages.put(id_key(transaction.tie), known_value(mine))
        return ready.read(transaction, pasts)

    def _known(self, transaction: OnlineTransaction, mark: bytes) -> Known:
        entities = (transaction.entity(key.entity) for key in self.layout.labelled)
        numbers = tuple(NO_TEXT if entity is None else entity for entity in entities)
        return Known(transaction.event_time_us, numbers, mark)

    def _recorded(self, pages: Pages, transaction: OnlineTransaction) -> dict[str, EntityPast]:
        """The pasts of the transaction's entities with the transaction in them, not yet saved."""
        pasts = {}
        for name, key in self.layout.keys.items():
            entity = transaction.entity(key.entity)
            if entity is None:
                continue
            pasts[name] = EntityPast(key, pages, entity)
            row = record_of(key, transaction)
            if row is not None:
                pasts[name].transactions.insert(row, oldest=self._oldest(pages, key.transactions))
        return pasts

    def _oldest(self, pages: Pages, track: Track) -> int:
        """The oldest event time that a window of a transaction to come can reach."""
        return read_newest(pages) - self.about.late_us - track.history_us

    def _label(self, pages: Pages, tie: int, label_time: int, source: str, is_fraud: bool) -> bool:
        known = read_known(pages, tie, len(self.layout.labelled))
        if known is None:
            return False
        sources = Sources.read(pages)
        if source not in sources.names:
            sources = sources.with_names({source})
            pages.put(*sources.to_item())
        row = (known.event_time, tie, label_time, sources.names.index(source), is_fraud)
        for key, entity in zip(self.layout.labelled, known.entities, strict=True):
            if entity != NO_TEXT:
                self._insert_label(pages, key, entity, np.array([row], LABELS.types[0]), sources.rank())
        return True

    def _insert_label(self, pages: Pages, key: KeyLayout, entity: int, row: Packed, rank: Ints) -> None:
        past = EntityPast(key, pages, entity).labels
        if past is not None:
            past.insert(row, oldest=self._oldest(pages, past.track), rank=rank)
            past.save()


def _answered(pages: Pages, transaction: OnlineTransaction, body: bytes) -> bytes:
    """Store an answer where there is none, and return the one that is stored."""
    key = answer_key(transaction.tie)
    present = pages.get(key)
    if present is not None:
        return answer_of(present)[1]
    pages.put(key, answer_value(transaction.event_time_us, body))
    return body
