"""Where the online state's bytes are: keys and values, changed in transactions that never interleave.

``Store`` is all that the state asks for. LMDB answers it for the replicas of one node. A store that spans
nodes would run ``work`` against the values it reads, and put what it wrote only if none of those has changed
since, else run it again (in Redis: ``WATCH``, ``MULTI``, ``EXEC``): so ``work`` must not have effects of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakValueDictionary

import lmdb

from fraud.errors import ConfigError
from fraud.features.past import Pages
from fraud.storage.writer_lock import WriterLock

T = TypeVar("T")
Item = tuple[bytes, bytes]

_MAP_SIZE: Final = 64 << 30
"""The most that a state can hold. The file has this length, but takes the disk that was written to only."""
_LOADED: Final = 200_000
"""Values written in one transaction of a load."""
_SCANNED: Final = 1_000
"""Values read in one transaction of a scan: a long one would keep old pages from being used again."""


class Store(Protocol):
    """Bytes by key."""

    def turn(self, deadline: float) -> AbstractAsyncContextManager[None]:
        """Have the turn to write inside, without which each ``transact`` waits for its own.

        Raises:
            StateBusyError: It did not come before ``time.monotonic()`` was the deadline.
        """

    def transact(self, work: Callable[[Pages], T]) -> T:
        """Run work that reads and writes; nothing is written where it raises. It may be run again."""

    def read(self, work: Callable[[Pages], T]) -> T:
        """Run work that only reads, on one state of the store."""

    def scan(self, begin: bytes, end: bytes) -> Iterator[Item]:
        """The items with begin <= key < end in the order of their keys, as they are when they are reached."""

    def load(self, items: Iterable[Item]) -> None:
        """Write items whose keys are greater than all that are there, in their order."""

    def close(self) -> None:
        """Release what is held."""


class _Overlay:
    """A transaction whose writes are kept back until its work is done."""

    def __init__(self, txn: Any) -> None:
        self._txn = txn
        self.writes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        if key in self.writes:
            return self.writes[key]
        found: bytes | None = self._txn.get(key)
        return found

    def put(self, key: bytes, value: bytes) -> None:
        self.writes[key] = value

    def delete(self, key: bytes) -> None:
        self.writes[key] = None


class _File:
    """An LMDB file that is open in this process: once, as LMDB asks for; closed when nobody uses it."""

    def __init__(self, folder: Path) -> None:
        self.lock = WriterLock(_data(folder))
        self.env = lmdb.open(
            str(folder),
            map_size=_MAP_SIZE,
            sync=False,
            metasync=False,
            writemap=True,
            max_readers=512,
        )


_files: WeakValueDictionary[tuple[int, int], _File] = WeakValueDictionary()
_opening: Final = Lock()


def _file(folder: Path) -> _File:
    with _opening:
        while (inode := inode_of(folder)) is not None:
            found = _files.get(inode) or _File(folder)
            # Another file may have taken its place meanwhile.
            if inode_of(folder) == inode:
                _files[inode] = found
                return found
    raise ConfigError(str(folder), "there is no online state here: run `fraud state build`")


def inode_of(folder: Path) -> tuple[int, int] | None:
    """Tell the file of a store from all others, by device and number; None where there is none."""
    try:
        stat = _data(folder).stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _data(folder: Path) -> Path:
    return folder / "data.mdb"


class LmdbStore:
    """One LMDB file, for the processes of one node.

    Commits are not synced: after a power loss the state is built again from the lake and the journals, which
    are. Pages are changed in shared memory, where a commit takes a fifth of the time that writing them takes;
    a process that is killed leaves the last commit whole.

    Who writes has the turn first (``WriterLock``), so nobody ever waits for LMDB's own mutex, in which one
    would be stuck behind a stopped process.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the file in a folder.

        Raises:
            ConfigError: There is none, and none is to be created.
        """
        if create:
            _data(path).touch()  # LMDB takes an empty file for a new one
        self._file = _file(path)

    def turn(self, deadline: float) -> AbstractAsyncContextManager[None]:
        """Have the turn to write inside.

        Raises:
            StateBusyError: It did not come by the deadline.
        """
        return self._file.lock.turn(deadline)

    def transact(self, work: Callable[[Pages], T]) -> T:
        """Have the turn while the work runs."""
        lock = self._file.lock
        is_own = lock.take()
        try:
            with self._file.env.begin(write=True) as txn:
                pages = _Overlay(txn)
                result = work(pages)
                for key, value in pages.writes.items():
                    if value is None:
                        txn.delete(key)
                    else:
                        txn.put(key, value)
                return result
        finally:
            if is_own:
                lock.give_back()

    def read(self, work: Callable[[Pages], T]) -> T:
        """Take no lock."""
        with self._file.env.begin() as txn:
            return work(_Overlay(txn))

    def scan(self, begin: bytes, end: bytes) -> Iterator[Item]:
        """Read some values at a time."""
        while items := self._items(begin, end):
            yield from items
            begin = items[-1][0] + b"\0"

    def load(self, items: Iterable[Item]) -> None:
        """Fill page after page, and leave no room in them."""
        items, lock = iter(items), self._file.lock
        while batch := list(islice(items, _LOADED)):
            is_own = lock.take()
            try:
                with self._file.env.begin(write=True) as txn:
                    txn.cursor().putmulti(batch, append=True)
            finally:
                if is_own:
                    lock.give_back()

    def used_bytes(self) -> int:
        """Return the bytes of all pages that hold something."""
        stat = self._file.env.stat()
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return int(pages * stat["psize"])

    def copy(self, path: Path) -> None:
        """Write one state of the store into another folder while it is in use."""
        path.mkdir(parents=True)
        self._file.env.copy(str(path), compact=True)

    def sync(self) -> None:
        """Put everything on disk."""
        self._file.env.sync(True)

    def close(self) -> None:
        """Release the file."""
        del self._file

    def _items(self, begin: bytes, end: bytes) -> list[Item]:
        with self._file.env.begin() as txn:
            cursor = txn.cursor()
            if not cursor.set_range(begin):
                return []
            return [item for item in islice(cursor.iternext(), _SCANNED) if item[0] < end]
