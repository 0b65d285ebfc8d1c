"""The online state: what a scoring replica must remember, in one LMDB file shared by the replicas of a node.

Three maps: the history of every entity, every transaction by its id (to find it when its label comes, and to
give the same answer twice), and what the state is. A transaction is queried, answered and recorded in one
write transaction, so replicas never interleave. The file is not synced: after a power loss it is built
again from the lake and the journals, which are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import lmdb
import msgspec
import numpy as np
from numpy.typing import NDArray

from fraud.errors import ConfigError, ConflictError, FormatVersionError
from fraud.features.online import EntityHistory, OnlineTransaction, online_features
from fraud.features.spec import FeatureSet

FORMAT_VERSION: Final = 1
_MAP_SIZE: Final = 64 << 30
"""Address space, not disk: the file grows as it is written."""
_ARRAYS: Final = ("event_time", "tie", "known_at", "amount")


class Remembered(msgspec.Struct, array_like=True, frozen=True):
    """A transaction by its id: enough to label it, and its answer where this node gave one."""

    event_time: int
    tie: int
    entities: dict[str, str]
    digest: bytes = b""
    answer: bytes = b""


class _About(msgspec.Struct, frozen=True):
    format_version: int
    entities: list[str]
    history_us: int
    as_of_us: int


class _History(msgspec.Struct, array_like=True, frozen=True):
    arrays: bytes
    labels: list[tuple[int, int, list[tuple[int, str, bool]]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes to answer with; ``fresh`` is false where they were given before."""

    body: bytes
    fresh: bool


class _Store:
    """The LMDB file: typed gets and puts inside a caller's transaction."""

    def __init__(self, path: Path) -> None:
        self.env = lmdb.open(
            str(path), map_size=_MAP_SIZE, max_dbs=3, sync=False, metasync=False, max_readers=512
        )
        self._entities = self.env.open_db(b"entities")
        self._transactions = self.env.open_db(b"transactions")
        self._meta = self.env.open_db(b"about")
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode_history = msgspec.msgpack.Decoder(_History).decode
        self._decode_remembered = msgspec.msgpack.Decoder(Remembered).decode

    def about(self, path: Path) -> _About:
        with self.env.begin(db=self._meta) as txn:
            found = msgspec.json.decode(txn.get(b"about") or b"{}")
        if found.get("format_version") != FORMAT_VERSION:
            raise FormatVersionError(f"online state {path}", found.get("format_version"), FORMAT_VERSION)
        return msgspec.convert(found, _About)

    def put_about(self, txn: Any, about: _About) -> None:
        txn.put(b"about", msgspec.json.encode(about), db=self._meta)

    def remembered(self, txn: Any, transaction_id: str) -> Remembered | None:
        raw = txn.get(transaction_id.encode(), db=self._transactions)
        return None if raw is None else self._decode_remembered(raw)

    def put_remembered(self, txn: Any, transaction_id: str, remembered: Remembered) -> None:
        txn.put(transaction_id.encode(), self._encode(remembered), db=self._transactions)

    def history(self, txn: Any, entity: str, value: str) -> EntityHistory:
        raw = txn.get(_key(entity, value), db=self._entities)
        if raw is None:
            return EntityHistory()
        packed = self._decode_history(raw)
        event_time, tie, known_at, amount = np.frombuffer(packed.arrays, np.int64).reshape(len(_ARRAYS), -1)
        labels = {(at, tie): tuple(said) for at, tie, said in packed.labels}
        return EntityHistory(event_time, tie, known_at, amount, labels)

    def put_history(self, txn: Any, entity: str, value: str, history: EntityHistory) -> None:
        arrays = np.stack([getattr(history, name) for name in _ARRAYS]).tobytes()
        labels = [(at, tie, list(said)) for (at, tie), said in history.labels.items()]
        txn.put(_key(entity, value), self._encode(_History(arrays, labels)), db=self._entities)


def create(
    path: Path,
    feature_set: FeatureSet,
    as_of: datetime,
    histories: Iterable[tuple[str, str, EntityHistory]],
    transactions: Iterable[tuple[str, Remembered]],
) -> None:
    """Write a new state into a folder that holds none.

    Args:
        path: Where.
        feature_set: What it will serve.
        as_of: Facts before this time are in it.
        histories: (entity column, id, history).
        transactions: (transaction id, what is remembered of it).
    """
    path.mkdir(parents=True)
    store = _Store(path)
    with store.env.begin(write=True) as txn:
        for entity, value, history in histories:
            store.put_history(txn, entity, value, history)
        for transaction_id, remembered in transactions:
            store.put_remembered(txn, transaction_id, remembered)
        store.put_about(
            txn, _About(FORMAT_VERSION, list(feature_set.entities), _micros(feature_set), _since_epoch(as_of))
        )
    store.env.sync(True)
    store.env.close()


class OnlineState:
    """An open state that serves one feature set."""

    def __init__(self, path: Path, feature_set: FeatureSet) -> None:
        """Open an existing state for reading and writing.

        Args:
            path: The folder that ``create`` made.
            feature_set: What to compute; the state must keep its entities and its history.

        Raises:
            ConfigError: There is no state, or it keeps less than the feature set needs.
            FormatVersionError: It was written in another format.
        """
        if not (path / "data.mdb").is_file():
            raise ConfigError(str(path), "there is no online state here: run `fraud state build`")
        self._feature_set = feature_set
        self._store = _Store(path)
        self._about = self._store.about(path)
        if set(feature_set.entities) - set(self._about.entities) or self._about.history_us < _micros(
            feature_set
        ):
            raise ConfigError(
                str(path),
                "the online state keeps less than the model's features need: run `fraud state build`",
            )

    def close(self) -> None:
        """Release the file."""
        self._store.env.close()

    def known_as_of(self) -> datetime:
        """Up to when the lake's facts were brought in."""
        return datetime.fromtimestamp(self._about.as_of_us / 1e6, UTC)

    def score(
        self,
        transaction: OnlineTransaction,
        digest: bytes,
        decide: Callable[[NDArray[np.float64]], bytes],
    ) -> Answer:
        """Answer a transaction and record it, once.

        Args:
            transaction: The one to score.
            digest: Of its canonical request; the same id must come with the same digest.
            decide: From its features, shape ``(features,)``, to the bytes of the answer.

        Raises:
            ConflictError: The id was answered for another request, or came from the lake.
        """
        store, transaction_id = self._store, transaction.transaction_id
        with store.env.begin(write=True) as txn:
            known = store.remembered(txn, transaction_id)
            if known is not None:
                if known.digest != digest:
                    raise ConflictError(transaction_id)
                return Answer(known.answer, fresh=False)
            present = _present(transaction.entities, self._about.entities)
            histories = {entity: store.history(txn, entity, value) for entity, value in present.items()}
            body = decide(online_features(self._feature_set, transaction, histories))
            for entity, value in present.items():
                store.put_history(txn, entity, value, self._recorded(histories[entity], transaction))
            remembered = Remembered(transaction.event_time_us, transaction.tie, present, digest, body)
            store.put_remembered(txn, transaction_id, remembered)
            return Answer(body, fresh=True)

    def label(self, transaction_id: str, label_time_us: int, source: str, is_fraud: bool) -> bool:
        """Add a label; return False where the transaction is not known here."""
        store = self._store
        with store.env.begin(write=True) as txn:
            known = store.remembered(txn, transaction_id)
            if known is None:
                return False
            said = (label_time_us, source, is_fraud)
            for entity, value in known.entities.items():
                history = store.history(txn, entity, value)
                store.put_history(txn, entity, value, history.label(known.event_time, known.tie, said))
            return True

    def _recorded(self, history: EntityHistory, transaction: OnlineTransaction) -> EntityHistory:
        at = transaction.event_time_us
        longer = history.record(at, transaction.tie, at, transaction.amount_base_minor)
        # What no window of the newest transaction can reach, no window of a later one will.
        return longer.since(int(longer.event_time[-1]) - self._about.history_us)


def _key(entity: str, value: str) -> bytes:
    """LMDB keys hold 511 bytes at most; ids are at most 128 characters."""
    return f"{entity}\0{value}".encode()


def _present(entities: Mapping[str, str | None], kept: Iterable[str]) -> dict[str, str]:
    return {name: value for name in kept if (value := entities.get(name)) is not None}


def _micros(feature_set: FeatureSet) -> int:
    return int(feature_set.history.total_seconds() * 1_000_000)


def _since_epoch(at: datetime) -> int:
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)
