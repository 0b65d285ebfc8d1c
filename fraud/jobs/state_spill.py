"""Facts on their way into a state: files of a temporary folder, one for each range of entities or of ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np

from fraud.features.facts import Ints
from fraud.features.packed import Packed
from fraud.features.track import Track
from fraud.jobs.state_rows import ENTITY, Cut, Scope, groups, id_type, with_entity
from fraud.storage.lake import Part

GROUP_ROWS: Final = 250_000
"""Rows that a thread reads at once."""
PARTITION_ROWS: Final = 2_000_000
"""Rows that are sorted at once."""

IDS: Final = "ids"


@dataclass(frozen=True)
class Spilled:
    """Where the facts of a scope are, and how many.

    Attributes:
        folder: Holds a file for each partition of a track, and of the ids.
        scope: The facts.
        bits: The partition of a number is its first so many bits.
        transactions: How many there are.
        labels: How many labels there are.
    """

    folder: Path
    scope: Scope
    bits: int
    transactions: int
    labels: int

    def track(self, track: Track) -> Iterator[Packed]:
        """The records of a track, ordered by entity and then as windows read them, partition by partition."""
        rank = self.scope.sources.rank()

        def ordered(rows: Packed) -> Packed:
            order = track.format.order(rows, rank)
            rows = rows[order[_stable(rows[ENTITY][order])]]
            return _once(rows, (ENTITY, *track.format.identity))

        return self._partitions(str(track.number), with_entity(track), ordered)

    def ids(self) -> Iterator[Packed]:
        """The ids by tie, partition by partition."""
        return self._partitions(IDS, id_type(self.scope.about.layout), _by_tie)

    def _partitions(
        self, name: str, kind: np.dtype[Any], ordered: Callable[[Packed], Packed]
    ) -> Iterator[Packed]:
        """Read and order the next partition while the last one is in use."""

        def read(number: int) -> Packed:
            return ordered(np.fromfile(self.folder / f"{name}-{number}", kind))

        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(read, 0)
            for number in range(1, 1 << self.bits):
                rows, following = following.result(), pool.submit(read, number)
                yield rows
            yield following.result()


def spill(scope: Scope, folder: Path, threads: int) -> Spilled:
    """Read the facts of a scope into files.

    Args:
        scope: Which facts.
        folder: An empty folder.
        threads: That read at once.
    """
    transactions, labels = scope.transaction_parts(), scope.label_parts()
    rows = max(sum(part.rows for part in parts) for parts in (transactions, labels))
    bits = max(0, (rows - 1) // PARTITION_ROWS).bit_length()
    files = _Files(folder, bits, scope)
    with ThreadPoolExecutor(threads) as pool:
        jobs: Sequence[tuple[Callable[[Sequence[Part]], Cut], list[Part]]] = [
            *((scope.transactions, parts) for parts in groups(transactions, GROUP_ROWS)),
            *((scope.labels, parts) for parts in groups(labels, GROUP_ROWS)),
        ]
        counts = list(pool.map(lambda job: files.write(job[0](job[1])), jobs))
    files.close()
    return Spilled(folder, scope, bits, sum(ids for ids, _ in counts), sum(said for _, said in counts))


class _Files:
    """The open files of all partitions."""

    def __init__(self, folder: Path, bits: int, scope: Scope) -> None:
        tracks = [track.number for key in scope.about.layout.keys.values() for track in key.tracks]
        names = [*map(str, tracks), IDS]
        self._bits = bits
        self._lock = Lock()
        self._files = {
            name: [(folder / f"{name}-{number}").open("wb") for number in range(1 << bits)] for name in names
        }

    def write(self, cut: Cut) -> tuple[int, int]:
        """Add facts to their files; return how many transactions and labels they are of."""
        for number, rows in cut.records.items():
            self._write(str(number), rows[ENTITY], rows)
        self._write(IDS, cut.ids["tie"], cut.ids)
        return len(cut.ids), cut.labels

    def close(self) -> None:
        for files in self._files.values():
            for file in files:
                file.close()

    def _write(self, name: str, number: Ints, rows: Packed) -> None:
        # Shifting by all 64 bits is not defined, so the last bit goes first.
        home = (_unsigned(number) >> np.uint64(1)) >> np.uint64(63 - self._bits)
        for partition, file in enumerate(self._files[name]):
            own = rows[home == partition] if self._bits else rows
            with self._lock:
                file.write(own.tobytes())


def _unsigned(numbers: Ints) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.ascontiguousarray(numbers).view(np.uint64)


def _stable(numbers: Ints) -> Ints:
    return np.argsort(_unsigned(numbers), kind="stable")


def _by_tie(ids: Packed) -> Packed:
    return _once(ids[_stable(ids["tie"])], ("tie",))


def _once(rows: Packed, identity: Sequence[str]) -> Packed:
    """Leave out what is said twice, of ordered records."""
    if len(rows) < 2:
        return rows
    same = np.logical_and.reduce([rows[name][1:] == rows[name][:-1] for name in identity])
    return rows[np.append(True, ~same)] if same.any() else rows
