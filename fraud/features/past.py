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

from fraud.features.facts import Ints
from fraud.features.packed import Packed
from fraud.features.track import FIRST, LAST, LAST_TIE, NUMBER, Track

_KEY: Final = struct.Struct(">BQ")
_CHUNK: Final = struct.Struct(">BI")
_UNSIGNED: Final = 2**64 - 1
_HEADER: Final = 2
"""Bytes before the records: the flags, and whether there is a directory."""


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
    """The records of one entity on one track; what is inserted is stored by ``save``."""

    def __init__(self, track: Track, pages: Pages, entity: int) -> None:
        self.track = track
        self.head = track.format.empty()
        self.directory: Ints | None = None
        self._pages = pages
        self._key = entity_key(track.number, entity)
        self._chunks: dict[int, Packed] = {}
        self._changed: set[int] = set()
        self._gone: list[int] = []
        raw = pages.get(self._key)
        if raw is not None:
            self.head = self._unpacked(raw)
            if raw[1]:
                stored = np.frombuffer(pages.get(self._directory_key) or b"", np.int64)
                self.directory = stored.reshape(-1, track.width)

    def chunk(self, number: int) -> Packed:
        """Return the records of a closed chunk."""
        if number not in self._chunks:
            self._chunks[number] = self._unpacked(self._pages.get(self._chunk_key(number)) or b"\0\0")
        return self._chunks[number]

    def loose(self, places: Sequence[int]) -> Packed:
        """Return the records of the chunks at these places of the directory, then those of the head."""
        if self.directory is None or not places:
            return self.head
        form, chunks = self.track.format, [self.chunk(int(self.directory[place, NUMBER])) for place in places]
        flags = form.flags(self.head)
        for chunk in chunks:
            flags |= form.flags(chunk)
        pieces = [form.cast(piece, flags).tobytes() for piece in (*chunks, self.head)]
        return np.frombuffer(b"".join(pieces), form.types[flags])

    def everything(self) -> Packed:
        """Return all records."""
        return self.loose(range(0 if self.directory is None else len(self.directory)))

    def insert(self, new: Packed, *, oldest: int, rank: Ints | None = None) -> None:
        """Add records; one that says the same as a present one takes its place.

        Args:
            new: In order, with no more flags than they need.
            oldest: Records of an earlier event time are forgotten when a chunk is closed.
            rank: See ``Format.merge``.
        """
        if self.directory is not None:
            new = self._insert_late(new, self.directory, rank)
        self.head = self.track.format.merge(self.head, new, rank)
        if len(self.head) >= 2 * self.track.chunk_rows(self.head):
            self._close(oldest)

    def forget(self, oldest: int) -> None:
        """Forget the records of an earlier event time, but those that share a chunk with a younger one."""
        self.head = self.head[self.head["event_time"] >= oldest]
        if self.directory is not None:
            self._drop(oldest)

    def save(self) -> None:
        """Store what has changed; an entity without records is forgotten."""
        pages, form = self._pages, self.track.format
        for number in self._gone:
            pages.delete(self._chunk_key(number))
        for number in self._changed:
            chunk = self._chunks[number]
            pages.put(self._chunk_key(number), bytes((form.flags(chunk), False)) + chunk.tobytes())
        has_directory = self.directory is not None and len(self.directory) > 0
        if self.directory is not None and (self._gone or self._changed):
            if has_directory:
                pages.put(self._directory_key, self.directory.tobytes())
            else:
                pages.delete(self._directory_key)
        if has_directory or len(self.head):
            pages.put(self._key, bytes((form.flags(self.head), has_directory)) + self.head.tobytes())
        else:
            pages.delete(self._key)
        self._changed, self._gone = set(), []

    def _insert_late(self, new: Packed, directory: Ints, rank: Ints | None) -> Packed:
        """Put records among the closed chunks where they belong there; return the others."""
        if not len(new) or not len(directory) or _is_after(new[0].item(), directory[-1]):
            return new
        home = [_home(directory, row) for row in new.tolist()]
        places = np.array(home, np.int64)
        for place in sorted(set(home) - {len(directory)}, reverse=True):
            self._replace(place, self.track.format.narrow(new[places == place]), rank)
        young: Packed = new[places == len(directory)]
        return young

    def _replace(self, place: int, new: Packed, rank: Ints | None) -> None:
        assert self.directory is not None  # noqa: S101 - the caller found the place there
        number = int(self.directory[place, NUMBER])
        rows = self.track.format.merge(self.chunk(number), new, rank)
        size = self.track.chunk_rows(rows)
        cut = _boundary(rows, len(rows) // 2) if len(rows) >= 2 * size else len(rows)
        summaries = [self._keep(number, rows[:cut])]
        if cut < len(rows):
            summaries.append(self._keep(int(self.directory[:, NUMBER].max()) + 1, rows[cut:]))
        around = (self.directory[:place], np.array(summaries, np.int64), self.directory[place + 1 :])
        self.directory = np.concatenate(around)

    def _close(self, oldest: int) -> None:
        """Move the older half of the head into a chunk of its own, or into several."""
        self.head = self.head[self.head["event_time"] >= oldest]
        size = self.track.chunk_rows(self.head)
        directory = np.empty((0, self.track.width), np.int64) if self.directory is None else self.directory
        number = int(directory[:, NUMBER].max(initial=-1)) + 1
        summaries: list[list[int]] = []
        begin = 0
        while len(self.head) - begin >= 2 * size:
            end = _boundary(self.head, begin + size)
            summaries.append(self._keep(number + len(summaries), self.head[begin:end]))
            begin = end
        self.head = self.head[begin:]
        if summaries or self.directory is not None:
            new = np.array(summaries, np.int64).reshape(-1, self.track.width)
            self.directory = np.concatenate((directory, new))
            self._drop(oldest)

    def _keep(self, number: int, rows: Packed) -> list[int]:
        rows = self.track.format.narrow(rows)
        self._chunks[number] = rows
        self._changed.add(number)
        return self.track.summary(number, rows)

    def _drop(self, oldest: int) -> None:
        """Forget the chunks that hold nothing younger."""
        assert self.directory is not None  # noqa: S101 - both callers have one
        old = int(np.searchsorted(self.directory[:, LAST], oldest, "left"))
        self._gone += self.directory[:old, NUMBER].tolist()
        self._changed.difference_update(self._gone)
        self.directory = self.directory[old:]

    @property
    def _directory_key(self) -> bytes:
        return self._key + b"\1"

    def _chunk_key(self, number: int) -> bytes:
        return self._key + _CHUNK.pack(0, number)

    def _unpacked(self, raw: bytes) -> Packed:
        rows: NDArray[np.void] = np.frombuffer(raw, self.track.format.types[raw[0]], offset=_HEADER)
        return rows


def _is_after(row: tuple[int, ...], summary: Ints) -> bool:
    return (row[0], row[1]) > (int(summary[LAST]), int(summary[LAST_TIE]))


def _home(directory: Ints, row: tuple[int, ...]) -> int:
    """The place of the first chunk that ends with or after a record; the head's is past the last."""
    event_time, tie = row[0], row[1]
    place = int(np.searchsorted(directory[:, LAST], event_time, "left"))
    while (
        place < len(directory) and directory[place, LAST] == event_time and directory[place, LAST_TIE] < tie
    ):
        place += 1
    return place


def _boundary(rows: Packed, cut: int) -> int:
    """The first place from ``cut`` on that does not part the labels of one transaction."""
    while cut < len(rows) and rows[cut].item()[:2] == rows[cut - 1].item()[:2]:
        cut += 1
    return cut


def whole_chunks(directory: Ints, low: Ints, high: int, *, strict: bool) -> tuple[Ints, int, Ints, int]:
    """Where windows lie in a directory.

    Args:
        directory: Of shape ``(chunks, width)``.
        low: Event times that lie just outside, shape ``(spans,)``.
        high: The last event time inside.
        strict: Whether records of that last time may come too late to count.

    Returns:
        The first whole chunk of each window, and the end of the whole ones; the first chunk that holds
        anything of each window, and the end of those.
    """
    first, last = directory[:, FIRST], directory[:, LAST]
    return (
        np.searchsorted(first, low, "right"),
        int(np.searchsorted(last, high, "left" if strict else "right")),
        np.searchsorted(last, low, "right"),
        int(np.searchsorted(first, high, "right")),
    )
