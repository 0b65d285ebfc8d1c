"""The table of runs says of each job what became of its rows, or why it failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fraud import schema
from fraud.errors import FraudError, SourceError
from fraud.storage.lake import Lake
from fraud.storage.runs import recorded

REPORT = {"rows": 10, "transactions": 7, "known": 2, "rejected": 1, "seconds": 0.1}


def rows(lake: Lake) -> list[dict[str, Any]]:
    return sorted(lake.read(schema.RUNS).to_pylist(), key=lambda row: row["started_at"])


def fail() -> dict[str, Any]:
    raise SourceError("in.csv", "there are no rows")


def test_a_run_is_recorded_with_its_counts_and_its_report(lake: Lake):
    assert recorded(lake, "ingest", lambda: REPORT) == REPORT
    (row,) = rows(lake)
    assert (row["job"], row["status"], row["reason"]) == ("ingest", "done", None)
    assert [row[f"rows_{name}"] for name in ("in", "out", "known", "rejected")] == [10, 7, 2, 1]
    assert json.loads(row["report"]) == REPORT
    assert row["started_at"] <= row["ended_at"]


def test_the_runs_of_scores_carry_the_id_that_their_rows_carry(lake: Lake):
    recorded(lake, "score", lambda: {"rows_in": 3, "scored": 2, "already_scored": 1, "run_id": "r1"})
    assert rows(lake)[0]["run_id"] == "r1"


def test_a_run_that_fails_is_recorded_with_the_reason_and_fails_all_the_same(lake: Lake):
    with pytest.raises(SourceError):
        recorded(lake, "ingest", fail)
    (row,) = rows(lake)
    assert (row["status"], row["rows_in"]) == ("failed", None)
    assert "there are no rows" in row["reason"]


def test_a_row_that_cannot_be_written_fails_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "runs").write_text("in the way")
    assert recorded(Lake(str(tmp_path)), "ingest", lambda: REPORT) == REPORT
    assert "not in the table of runs" in caplog.text
    with pytest.raises(FraudError, match="there are no rows"):
        recorded(Lake(str(tmp_path)), "ingest", fail)
