"""The turn to write to a file that processes of one node share.

A record lock of the kernel: given back when its process dies, and it tells who has it. So one that waits can
find the holder stopped (``SIGSTOP``, a job control stop), and end it, as nobody else would ever go on.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from fraud.errors import StateBusyError

STOPPED_S: Final = 1.0
"""A holder that is seen stopped for so long is killed."""

_LOOK_S: Final = 0.1
"""Seconds between two looks at who has the turn."""
_NAPS: Final = 3
_NAP_S: Final = 0.000_03
"""A turn is short: worth a few naps before the event loop is given to others."""
_WAIT_S: Final = 0.000_5

_FLOCK: Final = struct.Struct("hhqqi4x")
"""``struct flock`` of 64-bit Linux: type, whence, start, length, pid."""


class WriterLock:
    """The turn of one file; a process has one such lock a file.

    The kernel does not tell the threads of a process apart, so a mutex does. A thread that has the turn has
    it for everything that it does.
    """

    def __init__(self, file: Path) -> None:
        """Take no turn yet. Closing any other descriptor of the file in this process would end the turn."""
        self.descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        self._mutex = threading.Lock()
        self._thread = 0
        self._entered: list[bool] = []
        self._next_look = 0.0
        self._stopped: tuple[int, float] | None = None

    def take(self) -> bool:
        """Wait for the turn; return False where this thread has it already."""
        if self._thread == threading.get_ident():
            return False
        while not self.try_take():
            self.watch()
            time.sleep(_WAIT_S)
        return True

    def give_back(self) -> None:
        """End the turn that ``take`` returned True for."""
        self._thread = 0
        os.lockf(self.descriptor, os.F_ULOCK, 0)
        self._mutex.release()

    def __enter__(self) -> None:
        """Have the turn inside ``with``, where this thread has not got it already."""
        self._entered.append(self.take())

    def __exit__(self, *_: object) -> None:
        if self._entered.pop():
            self.give_back()

    def turn(self, deadline: float) -> Turn:
        """Return what has the turn inside ``async with``; see ``Turn``."""
        return Turn(self, deadline)

    def try_take(self) -> bool:
        """Take the turn where it is free; return whether it was."""
        if not self._mutex.acquire(blocking=False):
            return False
        try:
            os.lockf(self.descriptor, os.F_TLOCK, 0)
        except OSError:
            self._mutex.release()
            return False
        self._thread = threading.get_ident()
        self._stopped = None
        return True

    def watch(self) -> None:
        """Kill the holder where it has been stopped for too long."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        holder = self._holder()
        if holder is None or not _is_stopped(holder):
            self._stopped = None
        elif self._stopped is None or self._stopped[0] != holder:
            self._stopped = holder, now
        elif now - self._stopped[1] > STOPPED_S:
            with suppress(OSError):
                os.kill(holder, signal.SIGKILL)

    def _holder(self) -> int | None:
        """The process that has the turn, if it is another one."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(self.descriptor, fcntl.F_GETLK, asked))
        return pid if kind != fcntl.F_UNLCK and pid > 0 else None


class Turn:
    """The turn to write while inside ``async with``."""

    def __init__(self, lock: WriterLock, deadline: float) -> None:
        self._lock = lock
        self._deadline = deadline

    async def __aenter__(self) -> None:
        """Wait for it; the event loop goes on.

        Raises:
            StateBusyError: It did not come by the deadline.
        """
        naps = 0
        while not self._lock.try_take():
            if time.monotonic() >= self._deadline:
                raise StateBusyError
            self._lock.watch()
            naps += 1
            if naps <= _NAPS:
                time.sleep(_NAP_S)
            else:
                await asyncio.sleep(_WAIT_S)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        self._lock.give_back()


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[:1] == [b"T"]
