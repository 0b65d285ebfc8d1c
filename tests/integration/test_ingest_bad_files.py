"""What is wrong with files is said, nothing of them is in the lake, and once they are right they come in."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fraud import schema
from fraud.errors import QualityError, SchemaError, SourceError
from fraud.jobs import ingest
from fraud.jobs.source import SourceName
from fraud.mapping.spec import load
from fraud.settings import IngestSettings, MoneySettings
from fraud.storage.lake import Lake

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

COLUMNS = (
    "TRANSACTION_ID",
    "TX_DATETIME",
    "CUSTOMER_ID",
    "TERMINAL_ID",
    "TX_AMOUNT",
    "TX_FRAUD",
    "TX_FRAUD_SCENARIO",
)
HEADER = ",".join(COLUMNS) + "\n"
NOW = datetime(2026, 3, 9, tzinfo=UTC)


def row(number: int, *, card: str = "c1", amount: str = "12.50") -> str:
    return f"{number},2026-03-01 10:00:{number % 60:02d},{card},t1,{amount},0,0\n"


ROWS = HEADER + "".join(map(row, range(5000)))


def run(lake: Lake, folder: Path) -> dict[str, Any]:
    mapping = load("handbook", Path(__file__).parents[2] / "configs" / "mappings")
    return ingest.run(
        lake, SourceName(str(folder)), mapping, ingest=IngestSettings(), money=MoneySettings(), now=NOW
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


def truncated_gzip(folder: Path) -> Path:
    packed = gzip.compress(ROWS.encode())
    (folder / "b.csv.gz").write_bytes(packed[: len(packed) // 2])
    return folder / "b.csv.gz"


def two_encodings(folder: Path) -> Path:
    (folder / "b.csv").write_bytes(
        (ROWS + row(6000, card="Löwe")).encode() + row(6001, card="Löwe").encode("latin-1")
    )
    return folder / "b.csv"


def shifted_columns(folder: Path) -> Path:
    (folder / "b.csv").write_text(
        HEADER + "".join("x," + row(number).rsplit(",", 1)[0] + "\n" for number in range(500))
    )
    return folder / "b.csv"


def other_columns(folder: Path) -> Path:
    table = pa.table({name: ["1"] for name in COLUMNS if name != "TX_AMOUNT"} | {"AMOUNT_TX": ["1"]})
    pq.write_table(table, folder / "b.parquet")
    return folder / "b.parquet"


def damaged_parquet(folder: Path) -> Path:
    pq.write_table(pa.table({name: ["1"] for name in COLUMNS}), folder / "b.parquet")
    whole = (folder / "b.parquet").read_bytes()
    (folder / "b.parquet").write_bytes(whole[:-20])
    return folder / "b.parquet"


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (truncated_gzip, SourceError, r"b\.csv\.gz: cannot be read: .*[Tt]runcated"),
        (two_encodings, SourceError, r"b\.csv: cannot be read: its text is not utf-8: set format\.encoding"),
        (shifted_columns, QualityError, r"unparsable"),
        (other_columns, SchemaError, r"b\.parquet: .*'TX_AMOUNT'.*missing"),
        (damaged_parquet, SourceError, r"b\.parquet: cannot be read"),
    ],
)
def test_a_bad_file_is_named_and_holds_nothing_back_once_it_is_right(
    lake: Lake, folder: Path, damage: Callable[[Path], Path], error: type[Exception], said: str
) -> None:
    (folder / "a.csv").write_text(HEADER + row(7000))
    bad = damage(folder)
    with pytest.raises(error, match=said):
        run(lake, folder)
    assert lake.tables() == []
    bad.unlink()
    (folder / "b.csv").write_text(ROWS)
    assert run(lake, folder)["transactions"] == 5001


def test_an_id_in_two_files_comes_in_once_and_is_refused_where_it_differs(lake: Lake, folder: Path) -> None:
    (folder / "a.csv").write_text(ROWS)
    (folder / "b.csv").write_text(HEADER + row(1) + row(2, amount="99.00") + row(8000))
    report = run(lake, folder)
    assert (report["transactions"], report["known"], report["rejected_by_reason"]) == (
        5001,
        1,
        {"conflict": 1},
    )
    (refused,) = lake.read(schema.REJECTS).to_pylist()
    assert (Path(refused["source"]).name, refused["row"]) == ("b.csv", 1)
    assert "99.00" in refused["raw"]


def test_a_day_without_rows_is_no_fault_beside_others_and_named_alone(lake: Lake, folder: Path) -> None:
    (folder / "a.csv").write_text(HEADER)
    with pytest.raises(SourceError, match="there are no rows"):
        run(lake, folder)
    (folder / "b.csv").write_text(HEADER + row(1))
    assert run(lake, folder)["files"] == 2
