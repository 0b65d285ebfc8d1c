"""How many reviews were given today, by all replicas of a node.

A file for each UTC day grows by one byte a review. Appending is one step of the kernel: it tells a process
which review of the day its own is, whatever the others do, and there is no lock that one of them could hold
while it is stopped. What a killed process gave stays counted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_DAY_S: Final = 86_400
_PREFIX: Final = "reviews-"


class ReviewBudget:
    """Counts reviews; never waits, and never raises where its disk is full.

    Args:
        folder: Shared by the replicas of a node; made if missing.
        clock: Seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._day = -1
        self._file = -1

    def take(self, per_day: int) -> bool:
        """Take a review for a decision without a score; False where those of today are given.

        Args:
            per_day: Reviews of a day, those of scored transactions among them.
        """
        try:
            file = self._of_today()
            return os.fstat(file).st_size < per_day and _append(file, 1) <= per_day
        except OSError:
            return False

    def count(self, reviews: int = 1) -> None:
        """Count reviews of scored transactions, which the policy's threshold keeps within the budget."""
        try:
            _append(self._of_today(), reviews)
        except OSError:  # a full disk: the reviews are given all the same
            return

    def given(self) -> int:
        """How many were given today."""
        try:
            return os.fstat(self._of_today()).st_size
        except OSError:
            return 0

    def close(self) -> None:
        """Close the file; another call opens it again."""
        if self._file >= 0:
            os.close(self._file)
        self._day = self._file = -1

    def _of_today(self) -> int:
        day = int(self._clock()) // _DAY_S
        if day != self._day:
            self.close()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path(day), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._day = day
            self._forget(day)
        return self._file

    def _forget(self, day: int) -> None:
        """Remove the days before yesterday: another replica may still be on that one."""
        for file in self._folder.glob(f"{_PREFIX}*"):
            if file.name < self._path(day - 1).name:
                file.unlink(missing_ok=True)

    def _path(self, day: int) -> Path:
        return self._folder / f"{_PREFIX}{time.strftime('%Y-%m-%d', time.gmtime(day * _DAY_S))}"


def _append(file: int, reviews: int) -> int:
    """Append one byte a review and return where they end, which is this process's own count."""
    os.write(file, b"." * reviews)
    return os.lseek(file, 0, os.SEEK_CUR)
