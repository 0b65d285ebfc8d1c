"""An ingest that dies between its commits, and new files that come before it is run again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fraud import schema
from fraud.jobs import ingest
from fraud.jobs.source import SourceName
from fraud.mapping.spec import load
from fraud.settings import IngestSettings, MoneySettings
from fraud.storage.lake import Lake

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

HEADER = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD,TX_FRAUD_SCENARIO\n"
ROW = "%s,2026-03-01 10:00:00,c1,t1,12.50,%d,1\n"
NOW = datetime(2026, 3, 9, tzinfo=UTC)


class DiedError(Exception):
    """Stands for the end of the process."""


def put(folder: Path, name: str, *rows: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.csv").write_text(HEADER + "".join(rows))


def run(lake: Lake, folder: Path) -> dict[str, Any]:
    return ingest.run(
        lake,
        SourceName(str(folder)),
        load("handbook", Path(__file__).parents[2] / "configs" / "mappings"),
        ingest=IngestSettings(max_reject_share=0.9),
        money=MoneySettings(),
        now=NOW,
    )


def ids(lake: Lake, table: str) -> list[str]:
    return sorted(lake.read(table, columns=["transaction_id"]).column(0).to_pylist())


@pytest.mark.parametrize("dies_at", [schema.REJECTS, schema.LABELS, schema.INGESTED_FILES])
def test_it_is_completed_before_new_files_and_no_table_gets_a_row_twice(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    folder = tmp_path / "in"
    put(folder, "a", ROW % ("1", 1), ROW % ("2", 0), "3,never,c1,t1,1,0,0\n")
    commit = ingest._commit_once

    def commit_until(outcome: Any, name: str, *rest: Any, **options: Any) -> None:
        if name == dies_at:
            raise DiedError
        commit(outcome, name, *rest, **options)

    with monkeypatch.context() as dying:
        dying.setattr(ingest, "_commit_once", commit_until)
        with pytest.raises(DiedError):
            run(lake, folder)
    put(folder, "b", ROW % ("4", 1), ROW % ("1", 1), "5,never,c1,t1,1,0,0\n")
    report = run(lake, folder)
    assert (len(report["completed"]), report["files"]) == (1, 1)
    assert (report["transactions"], report["known"], report["rejected"]) == (1, 1, 1)
    assert ids(lake, schema.TRANSACTIONS) == ["1", "2", "4"]
    assert ids(lake, schema.LABELS) == ["1", "4"]
    assert lake.read(schema.REJECTS).num_rows == 2
    ledger = lake.read(schema.INGESTED_FILES).sort_by("path").to_pylist()
    assert [(row["rows"], row["transactions"], row["known"], row["rejected"]) for row in ledger] == [
        (3, 2, 0, 1),
        (3, 1, 1, 1),
    ]
    assert run(lake, folder)["files"] == 0
