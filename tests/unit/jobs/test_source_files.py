"""Which files a source is: of a Delta table, those of its versions, with the columns of its log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from fraud.errors import SourceError
from fraud.jobs.source_files import SourceFile, find_files
from fraud.jobs.source_rows import read, rows_at
from fraud.mapping.spec import FileFormat

FILE = FileFormat()


def append(table: Path, numbers: list[int], shops: list[str | None]) -> None:
    rows = pa.table({"number": numbers, "shop": pa.array(shops, pa.string())})
    write_deltalake(str(table), rows, mode="append", partition_by=["shop"])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three versions; shops whose names a path has to escape."""
    folder = tmp_path / "table"
    append(folder, [0, 1], ["a b", None])
    append(folder, [2, 3], ["a b", "ä/%20"])
    append(folder, [4], ["c"])
    return folder


def rows_of(files: list[SourceFile]) -> dict[int, str | None]:
    tables = [batch.table for file in files for piece in file.slices() for batch in read(piece, FILE)]
    rows = [row for each in tables for row in each.to_pylist()]
    return {row["number"]: row["shop"] for row in rows}


def test_a_delta_table_has_the_rows_of_its_newest_version(table: Path) -> None:
    DeltaTable(str(table)).delete("number = 0")
    assert rows_of(find_files(str(table))) == {1: None, 2: "a b", 3: "ä/%20", 4: "c"}


@pytest.mark.parametrize(
    ("first", "last", "numbers"),
    [(1, None, {2, 3, 4}), (1, 1, {2, 3}), (None, 1, {0, 1, 2, 3}), (0, 0, {0, 1}), (2, 2, {4})],
)
def test_a_range_of_versions_has_the_rows_that_they_brought(
    table: Path, first: int | None, last: int | None, numbers: set[int]
) -> None:
    assert rows_of(find_files(str(table), (first, last))).keys() == numbers


def test_head_and_single_rows_have_the_columns_of_the_log(table: Path) -> None:
    file = next(each for each in find_files(str(table)) if ("shop", "c") in each.constants)
    names, rows = file.head(FILE, 10)
    assert (sorted(names), rows.to_pylist()) == (["number", "shop"], [{"number": 4, "shop": "c"}])
    assert rows_at(file.slices(), np.array([0]), FILE).table.to_pylist() == [{"number": 4, "shop": "c"}]


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ((9, None), "the table is at version 2: there is no version 9 yet"),
        ((None, 9), "version 9 of the Delta"),
    ],
)
def test_versions_that_are_not_there_are_named(
    table: Path, versions: tuple[int | None, int | None], said: str
):
    with pytest.raises(SourceError, match=said):
        find_files(str(table), versions)


def test_a_folder_of_files_has_no_versions(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(SourceError, match="is no Delta table: only those have versions"):
        find_files(str(tmp_path), (1, 2))


def test_a_table_whose_files_are_not_its_rows_is_refused(table: Path) -> None:
    log = table / "_delta_log" / "00000000000000000003.json"
    log.write_text(
        '{"protocol":{"minReaderVersion":3,"minWriterVersion":7,'
        '"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}\n'
    )
    with pytest.raises(SourceError, match="uses deletionVectors, which is not read here"):
        find_files(str(table))
