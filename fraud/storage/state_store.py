"""Where the online state's bytes are: keys and values, changed in transactions that never interleave.

``Store`` is all that the state asks for. LMDB answers it for the replicas of one node. A store that spans
nodes would run ``work`` against the values it reads, and put what it wrote only if none of those has changed
since, else run it again (in Redis: ``WATCH``, ``MULTI``, ``EXEC``): so ``work`` must not have effects of its
own.

A store can be replaced while processes use it. The old one is marked in its last transaction; who finds the
mark goes on in the one that has its place.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakValueDictionary

import lmdb

from fraud.errors import ConfigError, StateMovedError
from fraud.features.past import Pages
from fraud.storage.disk import RESERVE_BYTES, Reserve
from fraud.storage.writer_lock import WriterLock

T = TypeVar("T")
Item = tuple[bytes, bytes]

_MAP_SIZE: Final = 64 << 30
"""The most that a state can hold. The file has this length, but takes the disk that was written to only."""
_REMEDY: Final = "run `fraud state build`"
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
        """Run work that reads and writes; nothing is written where it raises. It may be run again.

        Raises:
            StateMovedError: The store was left.
            DiskFullError: The disk is too full.
        """

    def read(self, work: Callable[[Pages], T]) -> T:
        """Run work that only reads, on one state of the store.

        Raises:
            StateMovedError: The store was left.
        """

    def scan(self, begin: bytes, end: bytes) -> Iterator[Item]:
        """The items with begin <= key < end in the order of their keys, as they are when they are reached."""

    def tend(self) -> bool:
        """Put the store back in its place where it was deleted; return whether it was."""

    def is_replaced(self) -> bool:
        """Whether another store is in this one's place."""

    def successor(self) -> Store:
        """Return the store that is in this one's place.

        Raises:
            ConfigError: There is none.
        """

    def leave(self, fresh: Path | None, last: Callable[[], object]) -> None:
        """Have all go on in another store.

        Args:
            fresh: The folder of a store that is to get this one's place; None where another has it.
            last: Is run after the last transaction of this store; the other one may be written to.

        Raises:
            StateMovedError: They have been told to go elsewhere before.
        """

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


_MOVED: Final = b"\xf4moved"
"""Set in a store that was left, to the name of the folder that is to get its place, if it has not yet."""


def _check_in_use(txn: Any) -> None:
    if txn.get(_MOVED) is not None:
        raise StateMovedError


class _File:
    """An LMDB file that is open in this process: once, as LMDB asks for; closed when nobody uses it."""

    def __init__(self, folder: Path, inode: tuple[int, int]) -> None:
        self.inode = inode
        self.lock = WriterLock(_data(folder))
        self.env = lmdb.open(
            str(folder),
            map_size=_MAP_SIZE,
            sync=False,
            metasync=False,
            writemap=True,
            # Keys are spread over the file: reading ahead is lost work, 18 ms where a disk is set to 8 MB.
            readahead=False,
            max_readers=512,
            create=False,
        )


_files: WeakValueDictionary[tuple[int, int], _File] = WeakValueDictionary()
_opening: Final = Lock()


def _file(folder: Path) -> _File | None:
    """Open the file in a folder, or the one that takes its place meanwhile; None where there is none."""
    with _opening:
        while (inode := inode_of(folder)) is not None:
            try:
                found = _files.get(inode) or _File(folder, inode)
            except (FileNotFoundError, lmdb.Error) as error:
                if inode_of(folder) == inode:
                    raise ConfigError(str(folder), f"this is no online state ({error}): {_REMEDY}") from error
                continue
            if inode_of(folder) == inode:
                _files[inode] = found
                return found
    return None


def inode_of(folder: Path) -> tuple[int, int] | None:
    """Tell the file of a store from all others, by device and number; None where there is none."""
    try:
        stat = _data(folder).stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _gone(folder: Path) -> Path:
    """Where a store is moved while another takes its place."""
    return folder.with_name(f"{folder.name}.gone")


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

    def __init__(self, path: Path, *, create: bool = False, reserve_bytes: int = RESERVE_BYTES) -> None:
        """Open the file in a folder.

        Args:
            path: The folder.
            create: Make a new one.
            reserve_bytes: Of the disk; nothing is written where less is free.

        Raises:
            ConfigError: There is none, and none is to be created.
        """
        if create:
            _data(path).touch()  # LMDB takes an empty file for a new one
        self._path = path
        # Whoever replaced a store may have died after it was moved away, and before the other was in place.
        found = _file(path) or _file(_gone(path))
        if found is None:
            raise ConfigError(str(path), f"there is no online state here: {_REMEDY}")
        self._file = found
        self._reserve = Reserve(self._file.lock.descriptor, reserve_bytes)

    def turn(self, deadline: float) -> AbstractAsyncContextManager[None]:
        """Have the turn to write inside.

        Raises:
            StateBusyError: It did not come by the deadline.
        """
        return self._file.lock.turn(deadline)

    def transact(self, work: Callable[[Pages], T]) -> T:
        """Have the turn while the work runs."""
        self._reserve.check()
        return self._write(work)

    def read(self, work: Callable[[Pages], T]) -> T:
        """Take no lock."""
        with self._file.env.begin() as txn:
            _check_in_use(txn)
            return work(_Overlay(txn))

    def is_replaced(self) -> bool:
        """Look at the folder."""
        return inode_of(self._path) not in (None, self._file.inode)

    def tend(self) -> bool:
        """Copy the deleted file, which is there for as long as a process has it open."""
        self._file.lock.watch()
        self._file.env.reader_check()
        if inode_of(self._path) is not None:
            return False
        self._reserve.check()
        copy = self._path.with_name(f"{self._path.name}.copy-{self._file.inode[1]}")

        def last() -> None:
            if inode_of(self._path) is not None:
                raise StateMovedError
            shutil.rmtree(copy, ignore_errors=True)
            self.copy(copy)

        try:
            self.leave(copy, last)
        except StateMovedError:
            return False
        return True

    def successor(self) -> LmdbStore:
        """Wait for the turn, put in place what is not there yet, and open what is."""
        with self._file.lock, self._file.env.begin() as txn:
            left_for = txn.get(_MOVED)
            self._rename(left_for)
        found = LmdbStore(self._path, reserve_bytes=self._reserve.bytes)
        if left_for is not None and found._file is self._file:
            raise ConfigError(str(self._path), f"the state that was to follow is gone: {_REMEDY}")
        return found

    def leave(self, fresh: Path | None, last: Callable[[], object]) -> None:
        """Mark the last transaction with the folder's name before it is renamed.

        Whoever dies in between, the next one that finds the mark does the rest.
        """
        name = b"" if fresh is None else fresh.name.encode()
        with self._file.lock:
            self._write(lambda _: None)
            last()
            self._write(lambda pages: pages.put(_MOVED, name))
            self._rename(name)

    def _rename(self, name: bytes | None) -> None:
        """Put the folder of this name in the place of this one, whose file stays open where it is in use."""
        if not name or not (fresh := self._path.with_name(name.decode())).is_dir():
            return
        gone = _gone(self._path)
        if self._path.is_dir():
            shutil.rmtree(gone, ignore_errors=True)
            self._path.rename(gone)
        fresh.rename(self._path)
        shutil.rmtree(gone, ignore_errors=True)

    def _write(self, work: Callable[[Pages], T]) -> T:
        lock = self._file.lock
        is_own = lock.take()
        try:
            with self._file.env.begin(write=True) as txn:
                _check_in_use(txn)
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

    def scan(self, begin: bytes, end: bytes) -> Iterator[Item]:
        """Read some values at a time."""
        while items := self._items(begin, end):
            yield from items
            begin = items[-1][0] + b"\0"

    def load(self, items: Iterable[Item]) -> None:
        """Fill page after page, and leave no room in them."""
        items = iter(items)
        while batch := list(islice(items, _LOADED)):
            self._reserve.check()
            with self._file.lock, self._file.env.begin(write=True) as txn:
                txn.cursor().putmulti(batch, append=True)

    def used_bytes(self) -> int:
        """Return the bytes of all pages that hold something."""
        stat = self._file.env.stat()
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return int(pages * stat["psize"])

    def copy(self, path: Path) -> None:
        """Write one state of the store into another folder while it is in use."""
        path.mkdir(parents=True)
        self._file.env.copy(str(path), compact=True)

    def watch(self) -> None:
        """Look after what the dead and the stopped leave behind; to be called now and then."""
        self._file.lock.watch()
        self._file.env.reader_check()

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
