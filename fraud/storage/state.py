"""The online state: what a scoring replica must remember of every entity, and what it answered.

A transaction is queried and recorded in one transaction of the store, so replicas never interleave; it is
decided upon outside of it, and the first decision stored is the answer. A state holds what its layout says
and serves every feature set that the layout covers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Final

import numpy as np

from fraud.errors import ConfigError, ConflictError
from fraud.features.facts import NO_TEXT, Floats, Ints
from fraud.features.layout import KeyLayout, Layout
from fraud.features.online import EntityPast, OnlineFeatures, OnlineTransaction, record_of
from fraud.features.packed import Packed
from fraud.features.past import MemoryPages, Pages, Past, entity_of
from fraud.features.spec import FeatureSet
from fraud.features.track import LABELS, Track
from fraud.schema import tie as tie_of_id
from fraud.storage.state_keys import (
    ABOUT,
    ANSWERS,
    FORMAT_VERSION,
    IDS,
    MARK_BYTES,
    About,
    Known,
    Sources,
    answer_key,
    answer_of,
    answer_value,
    id_key,
    known_of,
    known_value,
    read_about,
    read_known,
    tie_of,
    time_of,
)
from fraud.storage.state_store import Item, LmdbStore, Store

LATE_US: Final = 86_400_000_000
"""How much older than the newest facts a transaction may be and still see its whole windows: a day."""

_ANSWERS_US: Final = 2 * 86_400_000_000
"""How long answers are kept after the newest facts."""
_ENTITIES_AT_ONCE: Final = 50
_IDS_AT_ONCE: Final = 1_000
"""Changed in one transaction of the store: a replica waits as long as it takes."""

_Entities = Sequence[int | None]
"""The numbers of a transaction's entities, in the layout's order; None for one it does not have."""


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
    last = [(ABOUT, about.to_bytes()), (sources or Sources(())).to_item()]
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
        self._keys = tuple(self.layout.keys.items())
        self._labelled = len(self.layout.labelled)
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

    def exact_since_us(self) -> int:
        """Since when an event sees its whole windows, microseconds; an older one may not."""
        about = self._store.read(read_about)
        return about.as_of_us - about.late_us

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
        found = self.observe(feature_set, transaction, digest)
        if isinstance(found, bytes):
            return Answer(found, fresh=False)
        body = decide(found)
        (kept,) = self.keep([(transaction, body)])
        return Answer(kept, fresh=kept is body)

    def turn(self, deadline: float) -> AbstractAsyncContextManager[None]:
        """Have the one turn to write to the state inside ``async with``; waiting blocks no event loop.

        What writes without it waits for a turn of its own, in its thread.

        Args:
            deadline: On ``time.monotonic()``.

        Raises:
            StateBusyError: The turn did not come by the deadline.
        """
        return self._store.turn(deadline)

    def observe(
        self, feature_set: FeatureSet, transaction: OnlineTransaction, digest: bytes
    ) -> Floats | bytes:
        """Record a transaction once, and return its features, shape ``(features,)``, or the stored answer.

        The arguments and what is raised are those of ``score``.
        """
        ready = self._features(feature_set)
        return self._store.transact(lambda pages: self._query(pages, ready, transaction, digest))

    def observe_all(
        self, feature_set: FeatureSet, items: Sequence[tuple[OnlineTransaction, bytes]]
    ) -> list[Floats | bytes | ConflictError]:
        """Observe transactions in their order, each with its digest, later ones seeing earlier ones.

        Returns:
            What ``observe`` returns or raises for each of them.

        Raises:
            ConfigError: The state keeps less than the feature set needs.
        """
        ready = self._features(feature_set)

        def work(pages: Pages) -> list[Floats | bytes | ConflictError]:
            return [self._found(pages, ready, transaction, digest) for transaction, digest in items]

        return self._store.transact(work)

    def keep(self, items: Sequence[tuple[OnlineTransaction, bytes]]) -> list[bytes]:
        """Store answers to observed transactions where there are none, and return those that are stored."""

        def work(pages: Pages) -> list[bytes]:
            return [_answered(pages, transaction, body) for transaction, body in items]

        return self._store.transact(work)

    def record(self, transaction: OnlineTransaction, digest: bytes) -> bool:
        """Record a transaction that is not to be scored; return False where it is known.

        Raises:
            ConflictError: The id came before with another request, or from the lake with other content.
        """
        return self._store.transact(
            lambda pages: self._admit(pages, transaction, self._entities(transaction), digest) is not None
        )

    def answer(self, transaction_id: str) -> bytes | None:
        """Return the stored answer, if there is one; no lock is taken."""
        found = self._store.read(lambda pages: pages.get(answer_key(tie_of_id(transaction_id))))
        return None if found is None else answer_of(found)

    def peek(self, feature_set: FeatureSet, transaction: OnlineTransaction) -> Floats:
        """Return what ``observe`` would of a recorded transaction, shape ``(features,)``; no lock is taken.

        Raises:
            ConfigError: The state keeps less than the feature set needs.
        """
        ready = self._features(feature_set)
        entities = self._entities(transaction)
        return self._store.read(
            lambda pages: ready.read(transaction, self._recorded(pages, transaction, entities))
        )

    def label(self, transaction_id: str, label_time_us: int, source: str, is_fraud: bool) -> bool:
        """Add a label; return False where the transaction is not known here."""
        tie = tie_of_id(transaction_id)
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
                past.insert(new, rank)
                past.save()

        self._store.transact(work)

    def remember(self, ids: Packed) -> int:
        """Know transactions of the lake by their ids; return how many were not known.

        Args:
            ids: Records of ``tie``, ``event_time`` and the number of each labelled entity.
        """
        rows = iter(ids.tolist())
        unknown = 0
        while batch := list(islice(rows, _IDS_AT_ONCE)):
            unknown += self._store.transact(partial(_remember, ids=batch))
        return unknown

    def add_sources(self, names: set[str]) -> Sources:
        """Know sources of labels; return all that are known."""

        def work(pages: Pages) -> Sources:
            sources = Sources.read(pages)
            if names <= set(sources.names):
                return sources
            sources = sources.with_names(names)
            pages.put(*sources.to_item())
            return sources

        return self._store.transact(work)

    def advance(self, about: About) -> int:
        """Say what of the lake was brought in; once a day, forget what no window reaches any more.

        Returns:
            How many transactions were forgotten.
        """
        forgotten = self._forget(about.as_of_us) if about.as_of_us > self.about.as_of_us else 0
        self._store.transact(lambda pages: pages.put(ABOUT, about.to_bytes()))
        self.about = about
        return forgotten

    def pasts(self, track: Track) -> Iterator[tuple[int, Packed]]:
        """All entities of a track in the order of their keys, each with its records."""
        items = self._store.scan(bytes((track.number,)), bytes((track.number + 1,)))
        for entity, own in groupby(items, lambda item: entity_of(item[0])):
            pages = MemoryPages()
            pages.values.update(own)
            yield entity, Past(track, pages, entity).everything()

    def ids(self) -> Iterator[tuple[int, Known]]:
        """All known transactions by their ties, in the order of their keys."""
        for key, value in self._store.scan(IDS, ANSWERS):
            yield tie_of(key), known_of(value, len(self.layout.labelled))

    def sources(self) -> Sources:
        """Return the sources of labels."""
        return self._store.read(Sources.read)

    def _forget(self, newest: int) -> int:
        """Forget what is older than the history before a time; return how many transactions that are."""
        for key in self.layout.keys.values():
            for track in key.tracks:
                self._forget_records(track, newest - self.about.late_us - track.history_us)
        self._forget_items(ANSWERS, newest - _ANSWERS_US)
        return self._forget_items(IDS, newest - self.about.late_us - self.layout.history_us)

    def _forget_records(self, track: Track, oldest: int) -> None:
        old = (entity for entity, rows in self.pasts(track) if rows["event_time"][0] < oldest)
        while batch := list(islice(old, _ENTITIES_AT_ONCE)):
            self._store.transact(partial(_forget, track=track, entities=batch, oldest=oldest))

    def _forget_items(self, space: bytes, oldest: int) -> int:
        """Forget the ids, or the answers, of older transactions."""
        items = self._store.scan(space, bytes((space[0] + 1,)))
        old = (key for key, value in items if time_of(value) < oldest)
        forgotten = 0
        while batch := list(islice(old, _IDS_AT_ONCE)):
            self._store.transact(partial(_delete, keys=batch))
            forgotten += len(batch)
        return forgotten

    def _features(self, feature_set: FeatureSet) -> OnlineFeatures:
        if feature_set.version not in self._ready:
            self.check(feature_set)
            self._ready[feature_set.version] = OnlineFeatures(feature_set, self.layout)
        return self._ready[feature_set.version]

    def _found(
        self, pages: Pages, ready: OnlineFeatures, transaction: OnlineTransaction, digest: bytes
    ) -> bytes | Floats | ConflictError:
        try:
            return self._query(pages, ready, transaction, digest)
        except ConflictError as error:
            return error

    def _query(
        self, pages: Pages, ready: OnlineFeatures, transaction: OnlineTransaction, digest: bytes
    ) -> bytes | Floats:
        """Return the stored answer, or the features of a transaction that is recorded now or was before."""
        entities = self._entities(transaction)
        pasts = self._admit(pages, transaction, entities, digest)
        if pasts is None:
            answer = pages.get(answer_key(transaction.tie))
            if answer is not None:
                return answer_of(answer)
            pasts = self._recorded(pages, transaction, entities)
        return ready.read(transaction, pasts)

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
            past.insert(row, rank)
            past.save()


def _forget(pages: Pages, *, track: Track, entities: Iterable[int], oldest: int) -> None:
    for entity in entities:
        past = Past(track, pages, entity)
        past.forget(oldest)
        past.save()


def _delete(pages: Pages, *, keys: Iterable[bytes]) -> None:
    for key in keys:
        pages.delete(key)


def _remember(pages: Pages, *, ids: Iterable[tuple[int, ...]]) -> int:
    unknown = [(tie, known) for tie, *known in ids if pages.get(id_key(tie)) is None]
    for tie, (event_time, *entities) in unknown:
        pages.put(id_key(tie), known_value(Known(event_time, tuple(entities))))
    return len(unknown)


def _answered(pages: Pages, transaction: OnlineTransaction, body: bytes) -> bytes:
    """Store an answer where there is none, and return the one that is stored."""
    key = answer_key(transaction.tie)
    present = pages.get(key)
    if present is not None:
        return answer_of(present)
    pages.put(key, answer_value(transaction.event_time_us, body))
    return body
