"""A file and the endpoint bring the same transactions at the same time."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from factories_journal import event, write

from fraud import schema
from fraud.jobs import ingest, ship
from fraud.jobs.source import SourceName
from fraud.mapping.spec import load
from fraud.settings import IngestSettings, MoneySettings
from fraud.storage.lake import Lake

pytestmark = pytest.mark.ray

MAPPING = """format_version: 1
kind: transactions
times: {formats: [iso8601], zone: UTC}
columns: {transaction_id: transaction_id, event_time: event_time, amount: amount}
amount: {unit: major, currency: EUR}
entities: {card_id: card_id, terminal_id: terminal_id}
"""
ROW = "{},2026-02-01T12:00:00Z,42.50,c1,m1\n"


def run(lake: Lake, folder: Path, name: str, ids: list[str]) -> dict[str, Any]:
    file, declared = folder / f"{name}.csv", folder / "own.yaml"
    declared.write_text(MAPPING)
    file.write_text("transaction_id,event_time,amount,card_id,terminal_id\n" + "".join(map(ROW.format, ids)))
    return ingest.run(
        lake,
        SourceName(str(file)),
        load(str(declared), folder),
        ingest=IngestSettings(max_reject_share=0.5),
        money=MoneySettings(),
        now=datetime(2026, 2, 2, tzinfo=UTC),
    )


def test_an_id_that_was_shipped_while_its_file_was_read_comes_in_once(
    tmp_path: Path, lake: Lake, ray_cluster: None
) -> None:
    journal, times = tmp_path / "journal", []

    class Overtaken(Lake):
        """Others commit transactions while an ingest is about to."""

        def commit_onto(self, name: str, version: int, *given: Any, **named: Any) -> None:
            if name == schema.TRANSACTIONS and not times:
                times.append(version)
                ship.run(Lake(self.uri), journal)
            Lake.commit_onto(self, name, version, *given, **named)

    run(lake, tmp_path, "first", ["a"])
    write(journal, [event("b"), event("c", amount_minor=1)])
    report = run(Overtaken(lake.uri), tmp_path, "second", ["b", "c", "d"])
    assert times == [0]
    ids = Counter(lake.read(schema.TRANSACTIONS).column("transaction_id").to_pylist())
    assert ids == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert (report["transactions"], report["known"]) == (1, 1)
    assert report["rejected_by_reason"] == {"conflict": 1}
    assert lake.read(schema.REJECTS).num_rows == 1
