"""What to ship: the records of all segments that the lake has not, some thousands at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fraud import schema
from fraud.errors import BusyError, FormatVersionError, SourceError
from fraud.jobs import ship_records
from fraud.jobs.ship_records import Entry
from fraud.storage import journal

_LOCK: Final = "ship.lock"
_LOOK_S: Final = 0.05


@dataclass
class Haul:
    """Records read at once.

    Attributes:
        entries: In the order of segments and records.
        reached: By segment, the offset up to which it was read.
        ended: Segments that were read to their end and whose writer is gone.
        damaged: By segment, why it cannot be read further.
        is_full: Whether there may be more.
    """

    entries: list[Entry] = field(default_factory=list)
    reached: dict[str, int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    damaged: dict[str, str] = field(default_factory=dict)
    is_full: bool = False

    def of(self, *kinds: type) -> list[Entry]:
        """The records of some kinds."""
        return [entry for entry in self.entries if isinstance(entry.record, kinds)]


def app(segment: str) -> str:
    """Return the application id under which tables keep how far they have a segment."""
    return f"{schema.ENDPOINT}{segment}"


def read(segments: Sequence[Path], offsets: Mapping[str, int], *, records: int) -> Haul:
    """Read segments from offsets on; one that is damaged keeps the others from nothing.

    Args:
        segments: Oldest first.
        offsets: By the segment's name; 0 where it is left out.
        records: Not many more than so many.
    """
    haul = Haul()
    for segment in segments:
        if len(haul.entries) >= records:
            haul.is_full = True
            break
        _read(segment, offsets.get(segment.stem, 0), records, haul)
    return haul


def _read(segment: Path, offset: int, records: int, haul: Haul) -> None:
    name = segment.stem
    try:
        is_open = journal.is_open(segment)
        for after, raw in journal.read_from(segment, offset):
            haul.entries.append(ship_records.read(name, after, raw))
            haul.reached[name] = after
            if len(haul.entries) >= records:
                haul.is_full = True
                return
    except FileNotFoundError:
        return  # its writer found no use for it
    except ValueError:
        haul.damaged[name] = (
            f"{segment} holds a record that this release cannot read: ship it with a newer one"
        )
        return
    except (SourceError, FormatVersionError, OSError) as error:
        haul.damaged[name] = str(error)
        return
    if not is_open:
        haul.ended.add(name)


@contextmanager
def alone(folder: Path, wait_s: float) -> Iterator[None]:
    """Be the only one that ships this journal while inside.

    Raises:
        BusyError: Another process does, for as long as was waited.
    """
    until = time.monotonic() + wait_s
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not _locked(descriptor):
            if time.monotonic() >= until:
                raise BusyError(str(folder), wait_s)
            time.sleep(_LOOK_S)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
