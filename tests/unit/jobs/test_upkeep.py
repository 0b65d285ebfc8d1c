"""Upkeep deletes what no version needs, and never what somebody may still read."""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from fraud import schema
from fraud.errors import ConfigError
from fraud.jobs import upkeep
from fraud.storage.lake import Lake

DAY = date(2026, 3, 1)
KIND = pa.schema([pa.field("n", pa.int64()), pa.field(schema.PARTITION, pa.date32(), nullable=False)])


def rows(*numbers: int) -> pa.Table:
    return pa.table({"n": list(numbers), schema.PARTITION: [DAY] * len(numbers)}, schema=KIND)


def numbers(lake: Lake, name: str) -> list[int]:
    return sorted(lake.read(name).column("n").to_pylist())


def age(lake: Lake, name: str, path: str, days: int) -> Path:
    file = Path(lake.table_uri(name)) / path
    then = time.time() - days * 86_400
    os.utime(file, (then, then))
    return file


def vacuum(lake: Lake, *, dry_run: bool = False) -> dict[str, object]:
    return upkeep.vacuum(lake, retention_d=30, label_maturity_d=7, dry_run=dry_run)


def test_parts_of_a_run_that_failed_long_ago_are_deleted_and_younger_ones_are_not(lake: Lake):
    lake.append(schema.SCORES, rows(1))
    old = age(lake, schema.SCORES, lake.write_part(schema.SCORES, rows(2), DAY).path, 31)
    young = age(lake, schema.SCORES, lake.write_part(schema.SCORES, rows(3), DAY).path, 29)
    assert vacuum(lake, dry_run=True)["tables"] == {schema.SCORES: 1}
    assert old.exists()
    assert vacuum(lake)["files"] == 1
    assert not old.exists()
    assert young.exists()
    assert numbers(lake, schema.SCORES) == [1]


def test_a_version_of_the_last_days_stays_readable_though_its_files_are_old(lake: Lake):
    version = lake.append(schema.SCORES, rows(1))
    (part,) = lake.parts(schema.SCORES)
    age(lake, schema.SCORES, part.path, 400)
    lake.commit(schema.SCORES, KIND, lake.write_parts(schema.SCORES, rows(2)), removed=[part])
    vacuum(lake)
    assert lake.read(schema.SCORES, version=version).column("n").to_pylist() == [1]


def test_versions_do_not_go_before_their_labels_are_in(lake: Lake):
    with pytest.raises(
        ConfigError, match=r"lake.retention_d = 30.*shorter than labels.label_maturity_d = 60"
    ):
        upkeep.vacuum(lake, retention_d=30, label_maturity_d=60, dry_run=False)


def test_small_files_become_one_with_the_same_rows_and_the_same_applications(lake: Lake):
    for number in range(5):
        lake.append(schema.SCORES, rows(number), apps={f"score:{number}": 1})
    report = upkeep.optimize(lake)
    assert report["tables"] == {schema.SCORES: {"files_removed": 5, "files_added": 1}}
    assert len(lake.parts(schema.SCORES)) == 1
    assert numbers(lake, schema.SCORES) == [0, 1, 2, 3, 4]
    assert lake.app_version(schema.SCORES, "score:3") == 1
    assert upkeep.optimize(lake)["tables"] == {}


def test_files_that_tell_what_is_new_are_left_as_they_are(lake: Lake):
    for name in (schema.TRANSACTIONS, "features_12345678"):
        for number in range(3):
            lake.append(name, rows(number))
    before = {name: lake.parts(name) for name in lake.tables()}
    assert upkeep.optimize(lake)["tables"] == {}
    assert {name: lake.parts(name) for name in lake.tables()} == before


def test_a_row_added_after_upkeep_joins_the_others(lake: Lake):
    lake.append(schema.RUNS, pa.table({"at": [datetime(2026, 1, 1, tzinfo=UTC)], "what": ["a"]}))
    upkeep.optimize(lake)
    lake.append(schema.RUNS, pa.table({"at": [datetime(2026, 1, 2, tzinfo=UTC)], "what": ["b"]}))
    upkeep.optimize(lake)
    vacuum(lake)
    assert sorted(lake.read(schema.RUNS).column("what").to_pylist()) == ["a", "b"]


def test_a_new_lake_is_its_owners_alone(tmp_path: Path):
    folder = tmp_path / "work" / "lake"
    Lake(str(folder)).append(schema.RUNS, pa.table({"n": [1]}))
    assert folder.stat().st_mode & 0o777 == 0o700
