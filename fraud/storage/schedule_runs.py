"""Runs of schedules: a table of the lake that says which tick was started, and how it ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from fraud import schema
from fraud.errors import ChangedMeanwhileError
from fraud.storage.lake import Lake


def add(lake: Lake, schedule: str, *, due: datetime, attempt: int, status: str, submission_id: str) -> None:
    """Note what became of a tick, once, whichever scheduler does so.

    Args:
        lake: Holds the table.
        schedule: Its name.
        due: The tick, UTC.
        attempt: From 1 on, 0 where no job was started.
        status: See ``cluster.due``.
        submission_id: Of the job, empty where none was started.

    Raises:
        NotWrittenError: The disk is full or fails.
    """
    app = f"{schema.SCHEDULE_RUNS}:{schedule}:{due.isoformat()}:{attempt}:{status}"
    row = {
        "schedule": schedule,
        "due": due,
        "attempt": attempt,
        "status": status,
        "submission_id": submission_id,
        "at": datetime.now(UTC),
    }
    rows = pa.Table.from_pylist([row], schema=schema.SCHEDULE_RUNS_SCHEMA)
    try:
        lake.append_next(schema.SCHEDULE_RUNS, rows, app=app, number=1)
    except ChangedMeanwhileError:
        return  # another scheduler has noted it


def newest(lake: Lake) -> dict[str, dict[str, Any]]:
    """Return the newest row of the latest tick of every schedule, by the schedule's name."""
    if not lake.exists(schema.SCHEDULE_RUNS):
        return {}
    rows = lake.read(schema.SCHEDULE_RUNS).to_pylist()
    rows.sort(key=lambda row: (row["due"], row["attempt"], row["at"]))
    return {row["schedule"]: row for row in rows}
