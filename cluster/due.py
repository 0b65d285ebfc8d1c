"""What is to be done now for a schedule: decided from its declaration, its past and the time alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo

from cluster.schedules import Schedule

SUBMITTED: Final = "submitted"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
STOPPED: Final = "stopped"
REPLACED: Final = "replaced"
"""Stopped in favour of a later tick."""
SKIPPED: Final = "skipped"
"""Never started, as are all ticks before it that have no run."""
SEEN: Final = "seen"
"""No tick: from here on the schedule is watched."""

_AGAIN: Final = (FAILED, STOPPED)


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a tick.

    Attributes:
        due: The tick, UTC.
        attempt: From 1 on; 0 where no job was started.
        status: See above.
    """

    due: datetime
    attempt: int
    status: str


@dataclass(frozen=True, slots=True)
class Start:
    """Start a job for a tick, after the job of ``instead_of`` was stopped, if there is one."""

    due: datetime
    attempt: int
    instead_of: Run | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """Let a tick, and those before it, go."""

    due: datetime


def decide(schedule: Schedule, last: Run, now: datetime, *, late: timedelta) -> Start | Skip | None:
    """Return the next thing to do for a schedule; ask again once it is done.

    Args:
        schedule: Its declaration.
        last: The latest of its runs, as it stands now.
        now: UTC.
        late: With ``catch_up: none``, a tick older than this was missed.
    """
    open_run = last if last.status == SUBMITTED else None
    ticks = list(takewhile(lambda tick: tick <= now, schedule.ticks(last.due)))
    if not ticks:
        return _again(schedule, last)
    if last.status in _AGAIN and schedule.catch_up == "all" and last.attempt < schedule.attempts:
        return _again(schedule, last)
    is_missed = schedule.catch_up == "none" and ticks[-1] < now - late
    if open_run and (schedule.overlap == "forbid" or is_missed):
        return None
    if is_missed:
        return Skip(ticks[-1])
    due = ticks[0] if schedule.catch_up == "all" else ticks[-1]
    return Start(due, 1, open_run)


def _again(schedule: Schedule, last: Run) -> Start | None:
    """A job that failed or was stopped is started again, so many times."""
    if last.status in _AGAIN and last.attempt < schedule.attempts:
        return Start(last.due, last.attempt + 1)
    return None


def upcoming(schedule: Schedule, now: datetime, count: int) -> Iterator[datetime]:
    """Return the next ticks, in the schedule's own zone."""
    for tick in islice(schedule.ticks(now), count):
        yield tick.astimezone(ZoneInfo(schedule.zone))
