"""One entity's past as the online state stores it, read and changed inside one transaction of the store.

The newest records are the *head*, some hundreds at most. A busy entity has closed *chunks* besides, and a
*directory* with a summary of each. So a new record touches the head alone, and a window over a million
records adds up summaries and reads the chunks at its edges.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fraud.features.directory import directory_of
from fraud.features.facts import Ints
from fraud.features.packed import Packed
from fraud.features.track import Track

_KEY: Final = struct.Struct(">BQ")
_POSITION: Final = struct.Struct("<qq")
"""Of a record: its event time and its tie come first."""
_CHUNK: Final = struct.Struct(">BI")
_UNSIGNED: Final = 2**64 - 1
_HEADER: Final = 2
"""Bytes before the records: the flags, and whether there is a directory."""
_NOTHING: Final = bytes(_HEADER)


class Pages(Protocol):
    """A store of bytes by key, inside one transaction."""

    def get(self, key: bytes) -> bytes | None:
        """What is stored there."""

    def put(self, key: bytes, value: bytes) -> None:
        """Store a value."""

    def delete(self, key: bytes) -> None:
        """Forget what is stored there, if anything is."""


class MemoryPages:
    """A store of bytes by key that is gone in the end.

    Attributes:
        values: What is stored.
    """

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """What is stored there."""
        return self.values.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Store a value."""
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        """Forget what is stored there, if anything is."""
        self.values.pop(key, None)


def entity_key(track: int, entity: int) -> bytes:
    """Return the key of an entity's head; in the order of keys its chunks and its directory follow."""
    return _KEY.pack(track, entity & _UNSIGNED)


def entity_of(key: bytes) -> int:
    """Return the entity whose key it is, or that of one of its chunks or of its directory."""
    number: int = _KEY.unpack_from(key)[1]
    return number - 2**64 if number >= 2**63 else number


def head_value(track: Track, rows: Packed) -> bytes:
    """Return what is stored of an entity that has no more than these records."""
    return bytes((track.format.flags(rows), False)) + rows.tobytes()


class Past:
    """The records of one entity on one track; what is inserted is stored by ``save``.

    Attributes:
        track: Which.
        raw_head: The newest records, as they are stored.
        directory: Of the closed chunks, all of them older.
    """

    def __init__(self, track: Track, pages: Pages, entity: int) -> None:
        self.track = track
        self._pages = pages
        self._key = entity_key(track.number, entity)
        self._chunks: dict[int, bytes] = {}
        self._changed: set[int] = set()
        self._gone: list[int] = []
        self.raw_head = pages.get(self._key) or _NOTHING
        stored = pages.get(self._directory_key) if self.raw_head[1] else None
        self.directory = directory_of(stored or b"", track.width)

    @property
    def head(self) -> Packed:
        """The newest records."""
        return self._unpacked(self.raw_head)

    def chunk(self, number: int) -> Packed:
        """Return the records of a closed chunk."""
        return self._unpacked(self._chunk(number))

    def chunks_at(self, places: Sequence[int]) -> list[bytes]:
        """Return the chunks at these places of the directory, as they are stored."""
        return [self._chunk(number) for number in self.directory.numbers(places)]

    def everything(self) -> Packed:
        """Return all records."""
        form, pieces = self.track.format, [*map(self.chunk, self.directory.numbers(slice(None))), self.head]
        flags = 0
        for piece in pieces:
            flags |= form.flags(piece)
        return np.frombuffer(
            b"".join(form.cast(piece, flags).tobytes() for piece in pieces), form.types[flags]
        )

    def insert(self, new: Packed, rank: Ints | None = None) -> None:
        """Add records; one that says the same as a present one takes its place.

        Args:
            new: In order, with no more flags than they need.
            rank: See ``Format.merge``.
        """
        if not self._append(new):
            if len(self.directory) and len(new) and not self.directory.ends_before(new[0].item()[:2]):
                new = self._insert_late(new, rank)
            self.raw_head = self._packed(self.track.format.merge(self.head, new, rank))
        kind = self.track.format.types[self.raw_head[0]]
        if len(self.raw_head) - _HEADER >= 2 * self.track.chunk_rows(kind) * kind.itemsize:
            self._close()

    def forget(self, oldest: int) -> None:
        """Forget the records of an earlier event time, but those that share a chunk with a younger one."""
        head = self.head
        self.raw_head = self._packed(head[head["event_time"] >= oldest])
        old = self.directory.older(oldest)
        self._gone += self.directory.numbers(slice(old))
        self.directory = self.directory.with_chunks(0, old, ())

    def save(self) -> None:
        """Store what has changed; an entity without records is forgotten."""
        if self._gone or self._changed:
            self._save_chunks()
        is_busy = len(self.directory) > 0
        if is_busy or len(self.raw_head) > _HEADER:
            if self.raw_head[1] != is_busy:
                self.raw_head = bytes((self.raw_head[0], is_busy)) + self.raw_head[_HEADER:]
            self._pages.put(self._key, self.raw_head)
        else:
            self._pages.delete(self._key)

    def _save_chunks(self) -> None:
        for number in self._gone:
            self._pages.delete(self._chunk_key(number))
        for number in self._changed:
            self._pages.put(self._chunk_key(number), self._chunks[number])
        if len(self.directory):
            self._pages.put(self._directory_key, self.directory.table.tobytes())
        else:
            self._pages.delete(self._directory_key)
        self._changed, self._gone = set(), []

    def _append(self, new: Packed) -> bool:
        """Put one record behind the head's where it belongs there, and say whether it did."""
        raw, size = self.raw_head, new.itemsize
        if len(new) != 1 or len(raw) < size + _HEADER or raw[0] != self.track.format.flags(new):
            return False
        record = new.tobytes()
        if _POSITION.unpack_from(raw, len(raw) - size) >= _POSITION.unpack_from(record):
            return False
        self.raw_head = raw + record
        return True

    def _insert_late(self, new: Packed, rank: Ints | None) -> Packed:
        """Put records among the closed chunks where they belong there; return the others."""
        home = np.array([self.directory.home(row[:2]) for row in new.tolist()], np.int64)
        head = len(self.directory)
        for place in np.unique(home[home < head])[::-1].tolist():
            self._insert_into(place, self.track.format.narrow(new[home == place]), rank)
        young: Packed = new[home == head]
        return young

    def _insert_into(self, place: int, new: Packed, rank: Ints | None) -> None:
        (number,) = self.directory.numbers([place])
        rows = self.track.format.merge(self.chunk(number), new, rank)
        is_long = len(rows) >= 2 * self.track.chunk_rows(rows.dtype)
        cut = _boundary(rows, len(rows) // 2) if is_long else len(rows)
        summaries = [self._keep(number, rows[:cut])]
        if cut < len(rows):
            summaries.append(self._keep(self.directory.next_number, rows[cut:]))
        self.directory = self.directory.with_chunks(place, 1, summaries)

    def _close(self) -> None:
        """Move the older half of the head into a chunk of its own, or more of it into several."""
        head = self.head
        size, number = self.track.chunk_rows(head.dtype), self.directory.next_number
        summaries: list[list[int]] = []
        begin = 0
        while len(head) - begin >= 2 * size:
            end = _boundary(head, begin + size)
            summaries.append(self._keep(number + len(summaries), head[begin:end]))
            begin = end
        self.raw_head = self._packed(head[begin:])
        self.directory = self.directory.with_chunks(len(self.directory), 0, summaries)

    def _chunk(self, number: int) -> bytes:
        if number not in self._chunks:
            self._chunks[number] = self._pages.get(self._chunk_key(number)) or _NOTHING
        return self._chunks[number]

    def _keep(self, number: int, rows: Packed) -> list[int]:
        rows = self.track.format.narrow(rows)
        self._chunks[number] = self._packed(rows)
        self._changed.add(number)
        return self.track.summary(number, rows)

    @property
    def _directory_key(self) -> bytes:
        return self._key + b"\1"

    def _chunk_key(self, number: int) -> bytes:
        return self._key + _CHUNK.pack(0, number)

    def _packed(self, rows: Packed) -> bytes:
        return bytes((self.track.format.flags(rows), len(self.directory) > 0)) + rows.tobytes()

    def _unpacked(self, raw: bytes) -> Packed:
        rows: NDArray[np.void] = np.frombuffer(raw, self.track.format.types[raw[0]], offset=_HEADER)
        return rows


def _boundary(rows: Packed, cut: int) -> int:
    """The first place from ``cut`` on that does not part the labels of one transaction."""
    while cut < len(rows) and rows[cut].item()[:2] == rows[cut - 1].item()[:2]:
        cut += 1
    return cut
