"""The online state: what a scoring replica must remember of every entity, and what it answered.

A transaction is queried and recorded in one transaction of the store, so replicas never interleave; it is
decided upon outside of it, and the first decision stored is the answer. A state holds what its layout says
and serves every feature set that the layout covers.

Another state, of another layout perhaps, may take its place while it is in use: work is then done there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Final, TypeVar

from fraud.errors import ConfigError, ConflictError, FormatVersionError, StateMovedError
from fraud.features.facts import Floats
from fraud.features.layout import Layout
from fraud.features.online import OnlineTransaction
from fraud.features.packed import Packed
from fraud.features.past import MemoryPages, Pages, Past, entity_of
from fraud.features.spec import FeatureSet
from fraud.features.track import Track
from fraud.schema import tie as tie_of_id
from fraud.storage.disk import RESERVE_BYTES
from fraud.storage.journal_facts import Fact, fact_of
from fraud.storage.state_keys import (
    ABOUT,
    ANSWERS,
    FORMAT_VERSION,
    IDS,
    MOMENTS,
    About,
    Known,
    Sources,
    answer_key,
    answer_key_of,
    id_key,
    known_of,
    known_value,
    moment_key,
    read_about,
    tie_of,
    time_of,
)
from fraud.storage.state_records import ANSWERS_US, Records
from fraud.storage.state_store import Item, LmdbStore, Store

LATE_US: Final = 86_400_000_000
"""How much older than the newest facts a transaction may be and still see its whole windows: a day."""

_ENTITIES_AT_ONCE: Final = 50
_IDS_AT_ONCE: Final = 1_000
_FACTS_AT_ONCE: Final = 200
"""Changed in one transaction of the store: a replica waits as long as it takes."""

_LOOK_S: Final = 1.0
"""Seconds between two looks at whether the state still has its place."""
_FEW: Final = 100
"""Answers that may be missing when the turn is taken to bring the last ones over."""
_CLOCKS_US: Final = 60_000_000
"""How far the clock may be set back while answers are brought over."""

_END: Final = bytes((MOMENTS[0] + 1,))

T = TypeVar("T")


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
        """Use a state in a store, or in the one that took its place.

        Raises:
            FormatVersionError: It was written in another format.
        """
        self._open = _opened(store)
        self._next_look = 0.0

    @classmethod
    def open(cls, path: Path, *, reserve_bytes: int = RESERVE_BYTES) -> OnlineState:
        """Open the state in a folder, for the processes of this node.

        Args:
            path: The folder.
            reserve_bytes: Nothing is written where less is free on its disk.

        Raises:
            ConfigError: There is none.
            FormatVersionError: It was written in another format.
        """
        return cls(LmdbStore(path, reserve_bytes=reserve_bytes))

    def close(self) -> None:
        """Release the store."""
        self._store.close()

    @property
    def about(self) -> About:
        """What it is."""
        return self._records.about

    @property
    def layout(self) -> Layout:
        """What it keeps."""
        self._look()
        return self._records.layout

    def tend(self) -> bool:
        """Put the state back in its place where it was deleted; look after what the dead leave behind.

        To be called every second by one process of a node.

        Returns:
            Whether it was put back.

        Raises:
            DiskFullError: It was deleted, and the disk is too full.
        """
        self._look()
        if not self._store.tend():
            return False
        # Held open from now on: should it be deleted before anybody has looked at it, this is what is left.
        self._open = _opened(self._store.successor())
        return True

    def known_as_of(self) -> datetime:
        """Up to when the lake's facts were brought in."""
        about = self._read(lambda _, pages: read_about(pages))
        return datetime.fromtimestamp(about.as_of_us / 1e6, UTC)

    def covers(self, feature_set: FeatureSet) -> bool:
        """Return whether the state answers a feature set."""
        self._look()
        return self._records.covers(feature_set)

    def exact_since_us(self) -> int:
        """Since when an event sees its whole windows, microseconds; an older one may not."""
        about = self._read(lambda _, pages: read_about(pages))
        return about.as_of_us - about.late_us

    def check(self, feature_set: FeatureSet) -> None:
        """Check that the state answers a feature set.

        Raises:
            ConfigError: It keeps less than the windows need.
        """
        self._look()
        self._records.check(feature_set)

    def prepare(self, feature_set: FeatureSet) -> None:
        """Check a feature set, and compile what computes it before the first transaction waits for that.

        Raises:
            ConfigError: The state keeps less than the windows need.
        """
        self._look()
        self._records.prepare(feature_set)

    def turn(self, deadline: float) -> AbstractAsyncContextManager[None]:
        """Have the one turn to write to the state inside ``async with``; waiting blocks no event loop.

        What writes without it waits for a turn of its own, in its thread.

        Args:
            deadline: On ``time.monotonic()``.

        Raises:
            StateBusyError: The turn did not come by the deadline.
        """
        return self._store.turn(deadline)

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
            DiskFullError: The disk is too full.
        """
        found = self.observe(feature_set, transaction, digest)
        if isinstance(found, bytes):
            return Answer(found, fresh=False)
        body = decide(found)
        (kept,) = self.keep([(transaction, body)])
        return Answer(kept, fresh=kept is body)

    def observe(
        self, feature_set: FeatureSet, transaction: OnlineTransaction, digest: bytes
    ) -> Floats | bytes:
        """Record a transaction once, and return its features, shape ``(features,)``, or the stored answer.

        The arguments and what is raised are those of ``score``.
        """
        return self._write(lambda records, pages: records.observe(pages, feature_set, transaction, digest))

    def observe_all(
        self, feature_set: FeatureSet, items: Sequence[tuple[OnlineTransaction, bytes]]
    ) -> list[Floats | bytes | ConflictError]:
        """Observe transactions in their order, each with its digest, later ones seeing earlier ones.

        Returns:
            What ``observe`` returns, or its ``ConflictError``, for each of them.

        Raises:
            ConfigError: The state keeps less than the feature set needs.
            DiskFullError: The disk is too full.
        """
        return self._write(lambda records, pages: records.observe_all(pages, feature_set, items))

    def keep(self, items: Sequence[tuple[OnlineTransaction, bytes]]) -> list[bytes]:
        """Store answers to observed transactions where there are none, and return those that are stored.

        Args:
            items: Each with the whole journal record of its decision.

        Raises:
            DiskFullError: The disk is too full.
        """
        now = _now_us()
        return self._write(
            lambda records, pages: [
                records.keep(pages, transaction, body, now) for transaction, body in items
            ]
        )

    def record(self, transaction: OnlineTransaction, digest: bytes) -> bool:
        """Record a transaction that is not to be scored; return False where it is known.

        Raises:
            ConflictError: The id came before with another request, or from the lake with other content.
            DiskFullError: The disk is too full.
        """
        return self._write(lambda records, pages: records.record(pages, transaction, digest))

    def answer(self, transaction_id: str) -> bytes | None:
        """Return the stored answer, if there is one; no lock is taken."""
        key = answer_key(tie_of_id(transaction_id))
        return self._read(lambda _, pages: pages.get(key))

    def peek(self, feature_set: FeatureSet, transaction: OnlineTransaction) -> Floats:
        """Return what ``observe`` would of a recorded transaction, shape ``(features,)``; no lock is taken.

        Raises:
            ConfigError: The state keeps less than the feature set needs.
        """
        return self._read(lambda records, pages: records.peek(pages, feature_set, transaction))

    def label(self, transaction_id: str, label_time_us: int, source: str, is_fraud: bool) -> bool:
        """Add a label; return False where the transaction is not known here.

        Raises:
            DiskFullError: The disk is too full.
        """
        return self._write(
            lambda records, pages: records.label(pages, transaction_id, label_time_us, source, is_fraud)
        )

    def replay(self, facts: Iterable[Fact]) -> int:
        """Take in what a journal says; it may be here already.

        Returns:
            How many facts contradict what is here, and were left out.
        """
        facts, conflicts, now = iter(facts), 0, _now_us()
        while batch := list(islice(facts, _FACTS_AT_ONCE)):
            conflicts += self._write(partial(_replay, facts=batch, now_us=now))
        return conflicts

    def relieve(self, old: Store, fresh: Path | None = None) -> None:
        """Take the place of another state that may be in use: no answer is lost, and none is given twice.

        What was recorded there and has no answer yet is recorded here by those who answer it.

        Args:
            old: The other state's; all of its users go on here.
            fresh: The folder of this one, to be renamed; None where it has the place already.

        Raises:
            StateMovedError: Another state took that place meanwhile.
        """
        since = 0
        while True:
            begun = _now_us()
            if self._bring_over(old, since) <= _FEW:
                break
            since = begun - _CLOCKS_US
        old.leave(fresh, lambda: self._bring_over(old, begun - _CLOCKS_US))

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
        self._records.about = about
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
        self._forget_answers(_now_us() - ANSWERS_US)
        return self._forget_ids(newest - self.about.late_us - self.layout.history_us)

    def _forget_records(self, track: Track, oldest: int) -> None:
        old = (entity for entity, rows in self.pasts(track) if rows["event_time"][0] < oldest)
        while batch := list(islice(old, _ENTITIES_AT_ONCE)):
            self._store.transact(partial(_forget, track=track, entities=batch, oldest=oldest))

    def _forget_ids(self, oldest: int) -> int:
        old = (key for key, value in self._store.scan(IDS, ANSWERS) if time_of(value) < oldest)
        forgotten = 0
        while batch := list(islice(old, _IDS_AT_ONCE)):
            self._store.transact(partial(_delete, keys=batch))
            forgotten += len(batch)
        return forgotten

    def _forget_answers(self, oldest: int) -> None:
        old = (key for key, _ in self._store.scan(MOMENTS, moment_key(oldest, 0)))
        while batch := list(islice(old, _IDS_AT_ONCE)):
            keys = [*batch, *map(answer_key_of, batch)]
            self._store.transact(partial(_delete, keys=keys))

    def _bring_over(self, old: Store, since_us: int) -> int:
        """Take answers over that another state stored since a time; return how many were missing here."""
        moments = old.scan(moment_key(max(since_us, _now_us() - ANSWERS_US), 0), _END)
        count = 0
        while batch := list(islice(moments, _FACTS_AT_ONCE)):
            keys = [answer_key_of(moment) for moment, _ in batch]
            missing = self._read(partial(_missing, keys=keys))
            bodies = old.read(partial(_values, keys=missing))
            self.replay(fact for body in bodies if (fact := fact_of(body)) is not None)
            count += len(missing)
        return count

    @property
    def _store(self) -> Store:
        return self._open[0]

    @property
    def _records(self) -> Records:
        return self._open[1]

    def _write(self, work: Callable[[Records, Pages], T]) -> T:
        self._look()
        while True:
            store, records = self._open
            try:
                return store.transact(partial(work, records))
            except StateMovedError:
                self._open = _opened(store.successor())

    def _read(self, work: Callable[[Records, Pages], T]) -> T:
        self._look()
        while True:
            store, records = self._open
            try:
                return store.read(partial(work, records))
            except StateMovedError:
                self._open = _opened(store.successor())

    def _look(self) -> None:
        """Now and then: go on in the state that has the place, if it is another one."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        store = self._store
        try:
            store.read(lambda _: None)
            if not store.is_replaced():
                return
            # Nobody has told this one: the other one must have what only this one has first.
            other = OnlineState(store.successor())
            other.relieve(store)
            self._open = other._open
        except StateMovedError:
            self._open = _opened(store.successor())
        except (ConfigError, FormatVersionError):
            return  # it is gone again, or of another release: who uses this one stays with it


def _opened(store: Store) -> tuple[Store, Records]:
    """Return a store, or the one that took its place, with its records."""
    while True:
        try:
            return store, Records(store.read(read_about))
        except StateMovedError:
            store = store.successor()


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


def _replay(records: Records, pages: Pages, *, facts: Sequence[Fact], now_us: int) -> int:
    return records.replay(pages, facts, now_us)


def _missing(_: Records, pages: Pages, *, keys: Sequence[bytes]) -> list[bytes]:
    return [key for key in keys if pages.get(key) is None]


def _values(pages: Pages, *, keys: Sequence[bytes]) -> list[bytes]:
    return [value for key in keys if (value := pages.get(key)) is not None]


def _now_us() -> int:
    return time.time_ns() // 1000
