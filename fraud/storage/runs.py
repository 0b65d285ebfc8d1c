"""Runs: a table of the lake that says of each job what became of its rows, or why it failed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
from deltalake.exceptions import DeltaError

from fraud import schema
from fraud.errors import FraudError
from fraud.storage.lake import Lake

logger = logging.getLogger(__name__)

DONE: Final = "done"
FAILED: Final = "failed"

_COUNTS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "ingest": {
        "rows_in": ("rows",),
        "rows_out": ("transactions",),
        "rows_known": ("known",),
        "rows_rejected": ("rejected",),
    },
    "featurize": {"rows_out": ("transactions", "recomputed")},
    "score": {"rows_in": ("rows_in",), "rows_out": ("scored",), "rows_known": ("already_scored",)},
}
"""Of each job: the columns of the table, and the keys of its report that add up to them."""


def recorded(lake: Lake, job: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do the work of a job and note in the table what came of it; return its report.

    A run that is killed leaves no row; a row that cannot be written is told, and fails nothing.

    Args:
        lake: Holds the table.
        job: ``ingest``, ``featurize`` or ``score``.
        work: Returns the job's report.

    Raises:
        FraudError: What the work raises.
    """
    started = datetime.now(UTC)
    try:
        report = work()
    except FraudError as error:
        _note(lake, {"job": job, "status": FAILED, "started_at": started, "reason": str(error)})
        raise
    counts = {column: sum(int(report[key]) for key in keys) for column, keys in _COUNTS.get(job, {}).items()}
    row = {"job": job, "status": DONE, "started_at": started, "report": json.dumps(report), **counts}
    _note(lake, row | ({"run_id": report["run_id"]} if "run_id" in report else {}))
    return report


def _note(lake: Lake, row: Mapping[str, Any]) -> None:
    whole = {"run_id": uuid4().hex, "ended_at": datetime.now(UTC), **row}
    try:
        lake.ensure(schema.RUNS, schema.RUNS_SCHEMA)
        lake.append(schema.RUNS, pa.Table.from_pylist([whole], schema=schema.RUNS_SCHEMA))
    except (FraudError, DeltaError, OSError) as error:
        logger.warning("the run is not in the table of runs: %s", error)
