"""The scheduler: looks what is due, starts it through the Jobs API, and notes in the lake how it ended.

A job's id follows from its schedule, its tick and the attempt, and a cluster takes an id once. So a tick is
started once per attempt, however many schedulers run, and whenever one of them is killed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from cluster import due
from cluster.due import Run, Skip, Start
from cluster.schedules import Schedule
from fraud.errors import FraudError
from fraud.storage import schedule_runs
from fraud.storage.lake import Lake

logger = logging.getLogger(__name__)

_ENDED: Final = {"SUCCEEDED": due.SUCCEEDED, "FAILED": due.FAILED, "STOPPED": due.STOPPED}
_SHOWN: Final = 3
"""Ticks to come that a listing shows."""


class Jobs(Protocol):
    """What a scheduler needs of a cluster; all raise ClusterError where the cluster does not answer."""

    def start(self, submission_id: str, commands: tuple[str, ...]) -> None:
        """Start a job, unless the cluster has had one of this id."""

    def status(self, submission_id: str) -> str | None:
        """Return Ray's word for how it stands, None where the cluster knows no such job."""

    def stop(self, submission_id: str) -> None:
        """Stop a job and wait until it has ended."""


def once(
    schedules: Mapping[str, Schedule], lake: Lake, jobs: Jobs, *, now: datetime, late_s: float
) -> list[dict[str, Any]]:
    """Do what is due for every schedule; return what was done.

    Args:
        schedules: By name.
        lake: Keeps what became of every tick.
        jobs: Of a cluster.
        now: UTC.
        late_s: See ``due.decide``.

    Raises:
        FraudError: The first problem of a schedule, such as a cluster that does not answer, once all were
            looked at; what was done is noted.
    """
    done: list[dict[str, Any]] = []

    def note(name: str, run: Run) -> None:
        job = submission_id(name, run) if run.attempt else ""
        schedule_runs.add(lake, name, due=run.due, attempt=run.attempt, status=run.status, submission_id=job)
        done.append({"schedule": name, "due": run.due.isoformat(), "status": run.status, "job": job or None})

    known = _newest(lake)
    problems: list[FraudError] = []
    for name, schedule in schedules.items():
        last = known.get(name, Run(now, 0, due.SEEN))
        try:
            if name not in known:
                note(name, last)
            last = _as_it_stands(name, last, jobs, note)
            while action := due.decide(schedule, last, now, late=timedelta(seconds=late_s)):
                last = _do(name, schedule, action, jobs, note)
        except FraudError as error:  # the other schedules do not wait for this one
            problems.append(error)
    if problems:
        raise problems[0]
    return done


def watch(pass_: Callable[[datetime], list[dict[str, Any]]], every_s: float) -> None:
    """Make a pass again and again, until interrupted; what goes wrong is told, and tried again."""
    while True:
        try:
            for each in pass_(datetime.now(UTC)):
                logger.info("schedule", extra=each)
        except FraudError as error:
            logger.warning("%s; the next pass tries again", error)
        time.sleep(every_s)


def listing(schedules: Mapping[str, Schedule], lake: Lake, now: datetime) -> list[dict[str, Any]]:
    """Return every schedule with its last run as noted, and its next ticks in its own zone."""
    rows = schedule_runs.newest(lake)
    return [
        {
            "schedule": name,
            "cron": schedule.cron,
            "zone": schedule.zone,
            "commands": list(schedule.commands),
            "last": _shown(rows[name]) if name in rows else None,
            "next": [at.isoformat() for at in due.upcoming(schedule, now, _SHOWN)],
        }
        for name, schedule in schedules.items()
    ]


def submission_id(name: str, run: Run) -> str:
    """The id of the job of a tick: ``<schedule>-<date and minute, UTC>-<attempt>``."""
    return f"{name}-{run.due:%Y%m%dT%H%MZ}-{run.attempt}"


def _newest(lake: Lake) -> dict[str, Run]:
    return {
        name: Run(row["due"], row["attempt"], row["status"])
        for name, row in schedule_runs.newest(lake).items()
    }


def _as_it_stands(name: str, last: Run, jobs: Jobs, note: Callable[[str, Run], None]) -> Run:
    """Look whether the last job has ended; one that the cluster forgot was stopped with it."""
    if last.status != due.SUBMITTED:
        return last
    status = jobs.status(submission_id(name, last))
    ended = due.STOPPED if status is None else _ENDED.get(status)
    if ended is None:
        return last
    run = Run(last.due, last.attempt, ended)
    note(name, run)
    return run


def _do(
    name: str, schedule: Schedule, action: Start | Skip, jobs: Jobs, note: Callable[[str, Run], None]
) -> Run:
    if isinstance(action, Skip):
        run = Run(action.due, 0, due.SKIPPED)
    else:
        if action.instead_of is not None:
            jobs.stop(submission_id(name, action.instead_of))
            note(name, Run(action.instead_of.due, action.instead_of.attempt, due.REPLACED))
        run = Run(action.due, action.attempt, due.SUBMITTED)
        jobs.start(submission_id(name, run), schedule.commands)
    note(name, run)
    return run


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "due": row["due"].isoformat(),
        "status": row["status"],
        "attempt": row["attempt"],
        "job": row["submission_id"] or None,
    }
