"""Tables of the lake: written in parts, committed once, refused when they are not ours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from factories import transaction_table

from fraud import schema
from fraud.errors import (
    ChangedMeanwhileError,
    FormatVersionError,
    NotWrittenError,
    SchemaError,
    TableNotFoundError,
)
from fraud.storage.lake import Lake

START = datetime(2020, 1, 1, 12, tzinfo=UTC)


def two_days() -> pa.Table:
    return transaction_table(
        [{"transaction_id": str(n), "event_time": START + timedelta(days=n), "card_id": "c"} for n in (0, 1)]
    )


def test_rows_come_back_as_they_were(lake: Lake):
    table = two_days()
    lake.append("transactions", table)
    assert lake.read("transactions").equals(table)
    assert lake.schema("transactions").equals(table.schema)


def test_days_are_half_open(lake: Lake):
    lake.append("transactions", two_days())
    kept = lake.read("transactions", columns=["transaction_id"], days=(date(2020, 1, 1), date(2020, 1, 2)))
    assert kept.column("transaction_id").to_pylist() == ["0"]


def test_uncommitted_parts_are_invisible(lake: Lake):
    lake.append("transactions", two_days())
    lake.write_parts("transactions", two_days())
    assert lake.read("transactions").num_rows == 2


def test_application_version_is_read_back(lake: Lake):
    assert lake.app_version("transactions", "job") is None
    lake.append("transactions", two_days(), apps={"job": 7})
    assert lake.app_version("transactions", "job") == 7
    assert lake.version("transactions") == 0


def test_commit_returns_the_version_it_made(lake: Lake):
    table = two_days()
    assert [lake.append("transactions", table) for _ in range(3)] == [0, 1, 2]


def test_other_columns_are_refused(lake: Lake):
    lake.append("transactions", two_days())
    other = transaction_table(
        [{"transaction_id": "x", "event_time": START}], attributes={"age": pa.float64()}
    )
    with pytest.raises(SchemaError, match="it has no column age"):
        lake.append("transactions", other)
    assert lake.read("transactions").num_rows == 2


def test_missing_table_says_which_command_writes_it(lake: Lake):
    with pytest.raises(TableNotFoundError, match="fraud ingest"):
        lake.read("transactions")


def test_a_foreign_table_is_refused(lake: Lake):
    write_deltalake(lake.table_uri("scores"), pa.table({"a": [1]}))
    with pytest.raises(FormatVersionError, match="format_version"):
        lake.read("scores")


def test_other_delta_readers_see_the_same_rows(lake: Lake):
    lake.append("transactions", two_days())
    read = DeltaTable(lake.table_uri("transactions")).to_pyarrow_table()
    assert sorted(read.column("transaction_id").to_pylist()) == ["0", "1"]
    assert read.schema.field("event_time").type == schema.TIME


def test_a_commit_onto_a_version_says_how_far_an_application_is(lake: Lake):
    rows = pa.table({"n": [1]})
    lake.ensure("numbers", rows.schema)
    version, found = lake.committed("numbers", ["a", "b"])
    assert (version, found) == (0, {})
    lake.commit_onto("numbers", version, [lake.write_part("numbers", rows)], apps={"a": 7})
    assert lake.committed("numbers", ["a", "b"]) == (1, {"a": 7})
    assert lake.read("numbers").num_rows == 1


def test_a_commit_onto_an_older_version_changes_nothing(lake: Lake):
    rows = pa.table({"n": [1]})
    lake.append("numbers", rows)
    lake.append("numbers", rows)
    with pytest.raises(ChangedMeanwhileError):
        lake.commit_onto("numbers", 0, [lake.write_part("numbers", rows)], apps={"a": 1})
    assert lake.committed("numbers", ["a"]) == (1, {})
    assert lake.read("numbers").num_rows == 2


def test_of_two_commits_onto_one_version_one_holds(lake: Lake, monkeypatch):
    rows = pa.table({"n": [1]})
    lake.ensure("numbers", rows.schema)
    begin = DeltaTable.create_write_transaction

    def overtaken(table: DeltaTable, *args: object, **options: object) -> None:
        monkeypatch.undo()
        lake.append("numbers", rows)
        begin(table, *args, **options)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", overtaken)
    with pytest.raises(ChangedMeanwhileError):
        lake.commit_onto("numbers", 0, [lake.write_part("numbers", rows)], apps={"a": 1})
    assert lake.committed("numbers", ["a"]) == (1, {})
    assert lake.read("numbers").num_rows == 1


def test_a_part_that_could_not_be_written_leaves_no_file(lake: Lake, monkeypatch):
    def full_disk(table: pa.Table, sink: pa.NativeFile, **_: object) -> None:
        sink.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(NotWrittenError, match="No space left"):
        lake.write_part("numbers", pa.table({"n": [1]}))
    assert list(Path(lake.table_uri("numbers")).iterdir()) == []


def test_lists_of_numbers_come_back_as_such(lake: Lake):
    rows = pa.table({"x": pa.array([[1.5, None], None, []], pa.list_(pa.float64()))})
    lake.append("numbers", rows)
    assert lake.schema("numbers").field("x").type == pa.list_(pa.float64())
    assert lake.read("numbers").column("x").to_pylist() == [[1.5, None], None, []]
