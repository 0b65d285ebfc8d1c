"""What the records of the journal say of transactions, as the online state takes them in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from fraud.errors import FormatVersionError, SourceError
from fraud.features.online import OnlineTransaction
from fraud.storage import journal

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Seen:
    """A transaction, and what was answered.

    Attributes:
        transaction: As it was posted.
        digest: Of its canonical request.
        body: The whole record of the decision; None of an event.
        decided_us: When it was decided, microseconds; 0 of an event.
    """

    transaction: OnlineTransaction
    digest: bytes
    body: bytes | None
    decided_us: int


@dataclass(frozen=True, slots=True)
class Said:
    """A label."""

    transaction_id: str
    label_time_us: int
    source: str
    is_fraud: bool


Fact = Seen | Said


class _Answer(msgspec.Struct):
    decided_at: datetime


class _Decision(msgspec.Struct, tag_field="record", tag="decision"):
    request: msgspec.Raw
    amount_base_minor: int
    answer: _Answer


class _Event(msgspec.Struct, tag_field="record", tag="event"):
    request: msgspec.Raw
    amount_base_minor: int


class _Label(msgspec.Struct, tag_field="record", tag="label"):
    transaction_id: str
    is_fraud: bool
    label_time: datetime
    source: str


class _Shadow(msgspec.Struct, tag_field="record", tag="shadow"):
    pass


_decoder: Final = msgspec.json.Decoder(_Decision | _Event | _Label | _Shadow)


def fact_of(record: bytes) -> Fact | None:
    """Return what a record says; None where it says nothing of a transaction.

    Raises:
        msgspec.DecodeError: It is no record of this release.
    """
    found = _decoder.decode(record)
    if isinstance(found, _Decision):
        decided_us = _micros(found.answer.decided_at)
        return Seen(_transaction(found), _digest(found.request), record, decided_us)
    if isinstance(found, _Event):
        return Seen(_transaction(found), _digest(found.request), None, 0)
    if isinstance(found, _Label):
        return Said(found.transaction_id, _micros(found.label_time), found.source, found.is_fraud)
    return None


def digest_of(record: bytes) -> bytes:
    """Return the digest of the request in the record of a decision."""
    return _digest(msgspec.json.decode(record, type=_Decision).request)


@dataclass
class Reading:
    """A journal read on and on.

    Attributes:
        folder: Of its segments.
        damaged: Segments that could not be read to their end.
    """

    folder: Path
    damaged: set[str] = field(default_factory=set)
    _offsets: dict[Path, int] = field(default_factory=dict)

    def news(self) -> Iterator[Fact]:
        """What was written since the last time; of each segment in order."""
        for segment in journal.segments(self.folder):
            try:
                yield from self._of(segment)
            except FileNotFoundError:
                continue  # shipped and deleted meanwhile
            except (SourceError, FormatVersionError, msgspec.DecodeError):
                self.damaged.add(segment.name)

    def _of(self, segment: Path) -> Iterator[Fact]:
        for offset, record in journal.read_from(segment, self._offsets.get(segment, 0)):
            fact = fact_of(record)
            self._offsets[segment] = offset
            if fact is not None:
                yield fact


def _transaction(record: _Decision | _Event) -> OnlineTransaction:
    said: dict[str, Any] = msgspec.json.decode(record.request)
    attributes = said.pop("attributes", {})
    core = {name: said.pop(name) for name in ("transaction_id", "kind", "amount_minor", "currency")}
    event_time = _micros(datetime.fromisoformat(said.pop("event_time")))
    return OnlineTransaction(
        **core,
        event_time_us=event_time,
        amount_base_minor=record.amount_base_minor,
        entities=said,
        attributes=attributes,
    )


def _digest(request: msgspec.Raw) -> bytes:
    return hashlib.sha256(bytes(request)).digest()


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
