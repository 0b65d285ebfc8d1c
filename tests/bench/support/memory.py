"""The peak memory of a benchmark's processes: the largest sum of their proportional set sizes."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_PERIOD_S = 0.2
_REST = 19
"""A sample is followed by so many times its own duration of rest: it costs a twentieth of a CPU at most."""
_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")


class PeakMemory:
    """Samples all descendants of this process while the block runs; shared pages count once.

    Nothing gets away: a process whose parent has ended becomes this process's child.
    """

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.peak_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        rest = 0.0
        while not self._over.wait(rest):
            started = time.perf_counter()
            self.peak_bytes = max(self.peak_bytes, sum(map(_pss, descendants(os.getpid()))))
            rest = max(_PERIOD_S, _REST * (time.perf_counter() - started))


def descendants(ancestor: int) -> list[int]:
    """The process ids below this one."""
    children = defaultdict(list)
    for pid, parent in _parents():
        children[parent].append(pid)
    found = list(children[ancestor])
    for pid in found:
        found += children[pid]
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            # The name, in brackets, may hold blanks and brackets; state and parent follow it.
            after_name = _text(folder / "stat").rpartition(")")[2].split()
            if after_name:
                yield int(folder.name), int(after_name[1])


def _pss(pid: int) -> int:
    for line in _text(_PROC / str(pid) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(file: Path) -> str:
    """What a file of a process says; nothing where it has ended."""
    try:
        return file.read_text()
    except OSError:
        return ""
