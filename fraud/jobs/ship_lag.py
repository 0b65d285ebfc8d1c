"""How far the lake is behind the journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from fraud import schema
from fraud.jobs.ship_segments import app
from fraud.storage import journal
from fraud.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class Lag:
    """What the lake does not have yet.

    Attributes:
        bytes: Of journal files.
        since: When the oldest of these records was made; None where the lake has all.
    """

    bytes: int
    since: datetime | None


class _Answer(msgspec.Struct):
    decided_at: datetime


class _Record(msgspec.Struct):
    """When a record of any kind was made."""

    answer: _Answer | None = None
    received_at: datetime | None = None
    scored_at: datetime | None = None

    @property
    def at(self) -> datetime | None:
        return self.answer.decided_at if self.answer else self.received_at or self.scored_at


def lag(lake: Lake, folder: Path) -> Lag:
    """Compare a journal with what was shipped of it.

    Raises:
        SourceError: A journal file is damaged.
        FormatVersionError: One was written in another format version.
    """
    segments = journal.segments(folder)
    apps = [app(segment.stem) for segment in segments]
    _, reached = lake.committed(schema.DECISIONS, apps) if lake.exists(schema.DECISIONS) else (0, {})
    left = 0
    times = []
    for segment, name in zip(segments, apps, strict=True):
        offset = reached.get(name, 0)
        first = next(journal.read_from(segment, offset), None)
        if first is not None:
            left += segment.stat().st_size - offset
            times.append(msgspec.json.decode(first[1], type=_Record).at)
    return Lag(left, min((at for at in times if at is not None), default=None))
