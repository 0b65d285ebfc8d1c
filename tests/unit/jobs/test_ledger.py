"""The ledger: what is done is not read again, and what was cut short comes first, whole."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from fraud import schema
from fraud.jobs.ledger import begin, read_ledger
from fraud.jobs.source_files import SourceFile
from fraud.jobs.source_type import Described
from fraud.mapping.spec import Mapping, load
from fraud.storage.lake import Lake

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def mapping() -> Mapping:
    return load("handbook", Path(__file__).parents[3] / "configs" / "mappings")


def files(*names: str) -> list[Described]:
    return [Described(SourceFile(f"/in/{name}.csv"), f"sha-of-{name}", 1) for name in names]


def finish(lake: Lake, ingest_id: str, done: list[Described], mapping: Mapping) -> None:
    row = dict.fromkeys(("rows", "transactions", "known", "labels", "rejected", "bytes"), 0)
    rows = [
        {
            **row,
            "ingest_id": ingest_id,
            "path": file.path,
            "sha256": file.sha256,
            "mapping": mapping.name,
            "mapping_sha256": mapping.digest,
            "ingested_at": NOW,
        }
        for file in done
    ]
    table = pa.Table.from_pylist(rows, schema=schema.INGESTED_FILES_SCHEMA)
    part = lake.write_part(schema.INGESTED_FILES, table)
    lake.commit(schema.INGESTED_FILES, schema.INGESTED_FILES_SCHEMA, [part])


def test_what_is_done_is_not_read_again(lake: Lake, mapping: Mapping) -> None:
    begin(lake, "one", files("a"), mapping, NOW)
    finish(lake, "one", files("a"), mapping)
    assert read_ledger(lake, mapping).next_batch(files("a", "b")) == (files("b"), False)


def test_a_batch_that_was_cut_short_comes_first_and_alone(lake: Lake, mapping: Mapping) -> None:
    begin(lake, "one", files("a", "b"), mapping, NOW)
    ledger = read_ledger(lake, mapping)
    assert ledger.next_batch(files("a", "b", "c")) == (files("a", "b"), True)
    assert ledger.pending == ["/in/a.csv", "/in/b.csv"]
    finish(lake, "one", files("a", "b"), mapping)
    assert read_ledger(lake, mapping).next_batch(files("a", "b", "c")) == (files("c"), False)


def test_a_batch_that_cannot_be_completed_holds_nothing_up(lake: Lake, mapping: Mapping) -> None:
    begin(lake, "one", files("a", "b"), mapping, NOW)
    assert read_ledger(lake, mapping).next_batch(files("b", "c")) == (files("b", "c"), False)


def test_another_mapping_has_a_ledger_of_its_own(lake: Lake, mapping: Mapping) -> None:
    begin(lake, "one", files("a"), mapping, NOW)
    finish(lake, "one", files("a"), mapping)
    begin(lake, "two", files("b"), mapping, NOW)
    said = mapping.model_dump(mode="json", exclude_unset=True)
    other = Mapping.model_validate({**said, "not_card_numbers": ["id"]})
    assert read_ledger(lake, other).next_batch(files("a", "b")) == (files("a", "b"), False)


def test_paths_are_told_in_the_order_in_which_their_batches_were_begun(lake: Lake, mapping: Mapping) -> None:
    for ingest_id, name in (("z", "first"), ("y", "second"), ("x", "third")):
        begin(lake, ingest_id, files(name), mapping, NOW)
    for ingest_id, name in (("x", "third"), ("z", "first"), ("y", "second")):
        finish(lake, ingest_id, files(name), mapping)
    assert read_ledger(lake, mapping).paths == ("/in/first.csv", "/in/second.csv", "/in/third.csv")


def test_batches_are_numbered_and_begun_once(lake: Lake, mapping: Mapping) -> None:
    for ingest_id, name in (("one", "a"), ("two", "b"), ("one", "a")):
        begin(lake, ingest_id, files(name), mapping, NOW)
    table = lake.read(schema.INGEST_BATCHES, columns=["batch", "path"])
    assert sorted(table.to_pylist(), key=lambda row: row["batch"]) == [
        {"batch": 1, "path": "/in/a.csv"},
        {"batch": 2, "path": "/in/b.csv"},
    ]
