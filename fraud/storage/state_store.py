"""Where the online state's bytes are: keys and values, changed in transactions that never interleave.

``Store`` is all that the state asks for. LMDB answers it for the replicas of one node. A store that spans
nodes would run ``work`` against the values it reads, and put what it wrote only if none of those has changed
since, else run it again (in Redis: ``WATCH``, ``MULTI``, ``EXEC``): so ``work`` must not have effects of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import lmdb

from fraud.errors import ConfigError
from fraud.features.past import Pages

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


class LmdbStore:
    """One LMDB file, for the processes of one node.

    Commits are not synced: after a power loss the state is built again from the lake and the journals, which
    are. Pages are changed in shared memory, where a commit takes a fifth of the time that writing them takes;
    a process that is killed leaves the last commit whole.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the file in a folder.

        Raises:
            ConfigError: There is none, and none is to be created.
        """
        if not create and not (path / "data.mdb").is_file():
            raise ConfigError(str(path), "there is no online state here: run `fraud state build`")
        self._env = lmdb.open(
            str(path),
            map_size=_MAP_SIZE,
            sync=False,
            metasync=False,
            writemap=True,
            max_readers=512,
            create=create,
        )

    def transact(self, work: Callable[[Pages], T]) -> T:
        """Hold the one write lock while the work runs."""
        with self._env.begin(write=True) as txn:
            pages = _Overlay(txn)
            result = work(pages)
            for key, value in pages.writes.items():
                if value is None:
                    txn.delete(key)
                else:
                    txn.put(key, value)
            return result

    def read(self, work: Callable[[Pages], T]) -> T:
        """Take no lock."""
        with self._env.begin() as txn:
            return work(_Overlay(txn))

    def scan(self, begin: bytes, end: bytes) -> Iterator[Item]:
        """Read some values at a time."""
        while items := self._items(begin, end):
            yield from items
            begin = items[-1][0] + b"\0"

    def load(self, items: Iterable[Item]) -> None:
        """Fill page after page, and leave no room in them."""
        items = iter(items)
        while batch := list(islice(items, _LOADED)):
            with self._env.begin(write=True) as txn:
                txn.cursor().putmulti(batch, append=True)

    def used_bytes(self) -> int:
        """Return the bytes of all pages that hold something."""
        stat = self._env.stat()
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return int(pages * stat["psize"])

    def copy(self, path: Path) -> None:
        """Write one state of the store into another folder while it is in use."""
        path.mkdir(parents=True)
        self._env.copy(str(path), compact=True)

    def sync(self) -> None:
        """Put everything on disk."""
        self._env.sync(True)

    def close(self) -> None:
        """Release the file."""
        self._env.close()

    def _items(self, begin: bytes, end: bytes) -> list[Item]:
        with self._env.begin() as txn:
            cursor = txn.cursor()
            if not cursor.set_range(begin):
                return []
            return [item for item in islice(cursor.iternext(), _SCANNED) if item[0] < end]
