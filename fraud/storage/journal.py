r"""The append-only journal: what is acknowledged is on disk first.

A journal is a folder of segments, each written by one process. A segment is text, one record a line:

    <crc32 of the record, 8 hex digits> <record as JSON without line breaks>\n

The first record of a segment is its header with ``format_version``. Many writers wait for one ``fdatasync``
(group commit): while one batch is being synced, the next one gathers.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import ClassVar, Final
from zlib import crc32

import orjson

from fraud.errors import DataError, FormatVersionError, SourceError

FORMAT_VERSION: Final = 1
SUFFIX: Final = ".journal"
_NEW: Final = ".new"
SEGMENT_BYTES: Final = 64 * 1024 * 1024

_Batch = list[tuple[bytes, asyncio.Future[None]]]


class JournalError(DataError):
    """A record could not be put on disk; nothing that waited for it may be acknowledged."""

    code: ClassVar[str] = "journal"

    def __init__(self, folder: str, problem: str) -> None:
        super().__init__(folder, problem)
        self.folder = folder
        self.problem = problem

    def __str__(self) -> str:
        return f"the journal in {self.folder} cannot be written: {self.problem}; mend that, then retry"


class Journal:
    """One process's way into a journal folder; used from one event loop."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open a new segment.

        Args:
            folder: Made if missing, readable by its owner alone.
            segment_bytes: A segment that has reached it is followed by a new one.

        Raises:
            JournalError: The folder cannot be written.
        """
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segment: _Segment | None = None
        self._waiting: _Batch = []
        self._failure: JournalError | None = None
        self._is_writing = False
        self._idle = asyncio.Event()
        self._given: SimpleQueue[tuple[asyncio.AbstractEventLoop, _Batch] | None] = SimpleQueue()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._segment = _Segment.create(folder)
        except OSError as error:
            raise JournalError(str(folder), _reason(error)) from error
        # A thread and a queue: an executor's futures take as long as the disk.
        Thread(target=self._work, name="journal", daemon=True).start()

    async def write(self, *records: bytes) -> None:
        """Return when the records are on disk.

        A caller that is cancelled while it waits harms nobody: its records are still written, and the others'
        too.

        Args:
            records: Each JSON on one line.

        Raises:
            JournalError: They may not be on disk.
        """
        if any(b"\n" in record for record in records):
            raise ValueError("a journal record is one line")
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append((b"".join(map(_frame, records)), durable))
        if not self._is_writing:
            self._is_writing = True
            self._idle.clear()
            loop.call_soon(self._give, loop)  # once more of them are here
        await durable

    @property
    def waiting(self) -> int:
        """How many calls of ``write`` wait for the disk."""
        return len(self._waiting)

    def problem(self) -> str | None:
        """Why the last records could not be written; None where they could."""
        return str(self._failure) if self._failure else None

    async def close(self) -> None:
        """Write what is waiting, then close the segment."""
        if self._is_writing:
            await self._idle.wait()
        self._given.put(None)
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _give(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the thread write what waits."""
        batch, self._waiting = self._waiting, []
        self._given.put((loop, batch))

    def _written(self, loop: asyncio.AbstractEventLoop, batch: _Batch, failure: JournalError | None) -> None:
        self._failure = failure
        _settle(batch, failure)
        if self._waiting:
            self._give(loop)
        else:
            self._is_writing = False
            self._idle.set()

    def _work(self) -> None:
        """Write batch after batch, in the thread."""
        while (given := self._given.get()) is not None:
            loop, batch = given
            failure = self._try_to_put(b"".join(frame for frame, _ in batch))
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(self._written, loop, batch, failure)

    def _try_to_put(self, frames: bytes) -> JournalError | None:
        try:
            self._put(frames)
        except OSError as error:
            return JournalError(str(self._folder), _reason(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear
            return JournalError(str(self._folder), type(error).__name__)
        return None

    def _put(self, frames: bytes) -> None:
        if self._segment is not None and self._segment.size >= self._segment_bytes:
            self._segment.close()
            self._segment = None
        if self._segment is None:
            self._segment = _Segment.create(self._folder)
        try:
            self._segment.append(frames)
        except OSError:
            # A reader may have seen some of the batch and wait behind it: nothing else may ever stand there.
            self._segment.leave()
            self._segment = None
            raise


class _Segment:
    """One open file, locked while it is; everything before ``size`` is on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self.size = 0

    @classmethod
    def create(cls, folder: Path) -> _Segment:
        name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        segment = cls(folder / f"{name}{_NEW}")
        try:
            segment.append(_header())
            segment.show(folder / name)
        except OSError:
            segment.close()
            segment.path.unlink(missing_ok=True)
            raise
        return segment

    def show(self, path: Path) -> None:
        """Let readers find it: from the first moment it is locked and begins with its header."""
        self.path = self.path.rename(path)
        _sync_folder(path.parent)

    def append(self, frames: bytes) -> None:
        view, written = memoryview(frames), 0
        while written < len(view):
            written += os.pwrite(self._descriptor, view[written:], self.size + written)
        os.fdatasync(self._descriptor)
        self.size += written

    def leave(self) -> None:
        """Cut off what was not acknowledged, and close; a segment without a record is not worth keeping."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, self.size)
        if self.size == len(_header()):
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)


def segments(folder: Path) -> list[Path]:
    """Return the segments of a journal, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def is_open(segment: Path) -> bool:
    """Whether the process that writes a segment is alive and may append to it.

    Raises:
        FileNotFoundError: There is no such segment.
    """
    descriptor = os.open(segment, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def read(segment: Path) -> Iterator[bytes]:
    """Yield the records of a segment in the order they were written; see ``read_from``."""
    return (record for _, record in read_from(segment, 0))


def read_from(segment: Path, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yield the records of a segment from an offset on, each with the offset after it.

    Another process may be writing the segment. A torn last line, being written or left by a process or
    machine that died while writing, was never acknowledged: it is left out.

    Args:
        segment: One of ``segments``.
        offset: 0, or an offset that a reader of this segment came to; bytes.

    Raises:
        FormatVersionError: The segment was written in another format version.
        SourceError: A line before the last is damaged.
    """
    with segment.open("rb") as file:
        file.seek(offset)
        damaged = False
        for line in file:
            if damaged:
                raise SourceError(
                    str(segment), f"the journal is damaged at byte {offset}: restore the file from a copy"
                )
            if line[-1:] != b"\n":
                return
            record = line[9:-1]
            damaged = line[:9] != b"%08x " % crc32(record)
            if damaged:
                continue
            begin, offset = offset, offset + len(line)
            if begin:
                yield offset, record
            else:
                _check_header(record, segment)


def keep(file: Path, records: Iterable[bytes]) -> None:
    """Write a whole segment, durably in place of what the file holds; ``read`` reads it.

    Raises:
        JournalError: It could not be written; the file holds what it held.
    """
    fresh = file.with_name(f"{file.name}{_NEW}")
    try:
        fresh.unlink(missing_ok=True)
        segment = _Segment(fresh)
        try:
            segment.append(b"".join([_header(), *map(_frame, records)]))
            segment.show(file)
        finally:
            segment.close()
    except OSError as error:
        raise JournalError(str(file.parent), _reason(error)) from error


def _check_header(record: bytes, segment: Path) -> None:
    found = orjson.loads(record).get("format_version")
    if found != FORMAT_VERSION:
        raise FormatVersionError(str(segment), found, FORMAT_VERSION)


def _frame(record: bytes) -> bytes:
    return b"%08x %b\n" % (crc32(record), record)


def _header() -> bytes:
    return _frame(orjson.dumps({"format_version": FORMAT_VERSION}))


def _settle(batch: _Batch, failure: JournalError | None) -> None:
    for _, durable in batch:
        # A caller that hung up cancelled its future: setting that would raise, and nobody else would hear.
        if durable.done():
            continue
        if failure is None:
            durable.set_result(None)
        else:
            durable.set_exception(failure)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
