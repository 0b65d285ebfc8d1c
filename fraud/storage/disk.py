"""The room that is left on a disk, below which nothing is written any more.

A page of a memory map that finds no room on its disk ends the process (SIGBUS), so one refuses before.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from fraud.errors import DiskFullError

RESERVE_BYTES: Final = 256 << 20
_LOOK_S: Final = 1.0


def free_bytes(place: Path | int) -> int:
    """Return what is free on the disk of a path or of an open file."""
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


class Reserve:
    """The bytes of a disk that stay free.

    Attributes:
        bytes: How many.
    """

    def __init__(self, place: Path | int, reserve_bytes: int = RESERVE_BYTES) -> None:
        """Keep so many bytes free on the disk of a path or of an open file."""
        self._place = place
        self.bytes = reserve_bytes
        self._next_look = 0.0
        self._is_short = False

    def check(self) -> None:
        """Look once a second.

        Raises:
            DiskFullError: Less is free.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self._is_short = free_bytes(self._place) < self.bytes
            self._next_look = now + _LOOK_S
        if self._is_short:
            raise DiskFullError(self.bytes)
