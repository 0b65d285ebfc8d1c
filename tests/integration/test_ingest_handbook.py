"""Ingest of sources in the handbook's columns: idempotence, refusals, late rows, what is wrong with a run."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from fraud import schema
from fraud.errors import QualityError, SchemaError, SourceError
from fraud.jobs import ingest
from fraud.jobs.source import SourceName
from fraud.mapping.spec import Mapping, load
from fraud.settings import IngestSettings, MoneySettings
from fraud.storage.lake import Lake

pytestmark = pytest.mark.ray

NOW = datetime(2018, 6, 1, tzinfo=UTC)
CONFIGS = Path(__file__).parents[2] / "configs" / "mappings"


@pytest.fixture
def handbook() -> Mapping:
    return load("handbook", CONFIGS)


def naive(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC).replace(tzinfo=None)


def source_rows(first: int = 0, n: int = 6, **changes: Any) -> pa.Table:
    ids = range(first, first + n)
    columns = {
        "TRANSACTION_ID": pa.array([f"t{i}" for i in ids]),
        "TX_DATETIME": pa.array([naive(2018, 4, 1 + i % 3, 10, i % 60) for i in ids]),
        "CUSTOMER_ID": pa.array([i % 4 for i in ids], pa.int32()),
        "TERMINAL_ID": pa.array([i % 2 for i in ids], pa.int32()),
        "TX_AMOUNT": pa.array([10.5 + i for i in ids], pa.float64()),
        "TX_FRAUD": pa.array([int(i % 5 == 1) for i in ids], pa.int8()),
        "TX_FRAUD_SCENARIO": pa.array([3 * int(i % 5 == 1) for i in ids], pa.int8()),
    }
    return pa.table(columns | {name: pa.array(values) for name, values in changes.items()})


def run(lake: Lake, source: Path | str, mapping: Mapping, share: float = 0.5) -> dict[str, Any]:
    settings = IngestSettings(max_reject_share=share)
    return ingest.run(lake, SourceName(str(source)), mapping, ingest=settings, money=MoneySettings(), now=NOW)


def test_formats_give_the_same_transactions(tmp_path: Path, handbook: Mapping, ray_cluster: None):
    rows = source_rows(n=50)
    folder = tmp_path / "source"
    folder.mkdir()
    lines = "\n".join(json.dumps(row, default=str) for row in rows.to_pylist())
    pq.write_table(rows, folder / "a.parquet", row_group_size=10)
    pacsv.write_csv(rows, folder / "b.csv")
    (folder / "c.csv.gz").write_bytes(gzip.compress((folder / "b.csv").read_bytes()))
    (folder / "d.jsonl").write_text(lines)
    (folder / "e.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    report = run(Lake(str(tmp_path / "lake")), folder, handbook)
    assert {name: report[name] for name in ("files", "rows", "transactions", "known", "rejected")} == {
        "files": 5,
        "rows": 250,
        "transactions": 50,
        "known": 200,  # the other four files say the same
        "rejected": 0,
    }


def test_rows_arrive_with_exact_values(tmp_path: Path, lake: Lake, handbook: Mapping, ray_cluster: None):
    pq.write_table(source_rows(n=3), tmp_path / "a.parquet")
    report = run(lake, tmp_path / "a.parquet", handbook)
    row = lake.read(schema.TRANSACTIONS).filter(pc.field("transaction_id") == "t1").to_pylist()[0]
    assert row == {
        "transaction_id": "t1",
        "event_time": datetime(2018, 4, 2, 10, 1, tzinfo=UTC),
        "known_at": datetime(2018, 4, 2, 10, 1, tzinfo=UTC),
        "kind": "purchase",
        "status": None,
        "status_time": None,
        "amount_minor": 1150,
        "currency": "EUR",
        "amount_base_minor": 1150,
        "tie": -4597554018004581572,  # signed xxh3_64 of the id's bytes
        "card_id": "1",
        "terminal_id": "1",
        "ingest_id": report["ingest_id"],
        "event_date": date(2018, 4, 2),
    }
    label = lake.read(schema.LABELS).drop_columns(["ingest_id"]).to_pylist()
    assert label == [
        {
            "transaction_id": "t1",
            "event_time": datetime(2018, 4, 2, 10, 1, tzinfo=UTC),
            "label_time": datetime(2018, 4, 9, 10, 1, tzinfo=UTC),
            "source": "handbook",
            "is_fraud": True,
            "fraud_type": "3",
            "card_id": "1",
            "terminal_id": "1",
        }
    ]


def test_second_run_adds_nothing(tmp_path: Path, lake: Lake, handbook: Mapping, ray_cluster: None):
    pq.write_table(source_rows(n=30), tmp_path / "a.parquet")
    first = run(lake, tmp_path / "a.parquet", handbook)
    again = run(lake, tmp_path / "a.parquet", handbook)
    assert (again["files"], again["files_skipped"], again["rows"]) == (0, 1, 0)
    pq.write_table(source_rows(n=30), tmp_path / "b.parquet", row_group_size=7)  # same rows, other bytes
    other = run(lake, tmp_path / "b.parquet", handbook)
    assert (other["transactions"], other["known"], other["labels"], other["rejected"]) == (0, 30, 0, 0)
    assert other["versions"] == first["versions"] | {"transactions": 0, "labels": 0}
    assert lake.read(schema.TRANSACTIONS).num_rows == 30


def test_first_of_repeated_ids_counts(tmp_path: Path, lake: Lake, handbook: Mapping, ray_cluster: None):
    rows = source_rows(n=4)
    later_day = [naive(2018, 4, 20), naive(2018, 4, 2, 10, 1), naive(2018, 4, 3), naive(2018, 3, 30)]
    # t0 comes again on another day, t1 as it was, t9 twice with different amounts, the later day first.
    more = pa.table(
        {
            "TRANSACTION_ID": ["t0", "t1", "t9", "t9"],
            "TX_DATETIME": pa.array(later_day),
            "CUSTOMER_ID": pa.array([0, 1, 0, 0], pa.int32()),
            "TERMINAL_ID": pa.array([0, 1, 0, 0], pa.int32()),
            "TX_AMOUNT": [10.5, 11.5, 1.0, 2.0],
            "TX_FRAUD": pa.array([1, 1, 1, 0], pa.int8()),
            "TX_FRAUD_SCENARIO": pa.array([3, 3, 1, 0], pa.int8()),
        }
    )
    pq.write_table(rows, tmp_path / "a.parquet")
    pq.write_table(more, tmp_path / "b.parquet")
    report = run(lake, f"{tmp_path}/*.parquet", handbook)
    assert (report["rows"], report["transactions"], report["known"]) == (8, 5, 1)
    assert report["rejected_by_reason"] == {"conflict": 2}
    refused = lake.read(schema.REJECTS).select(["source", "row", "reason"]).to_pylist()
    path = str(tmp_path / "b.parquet")
    assert sorted(refused, key=lambda row: row["row"]) == [
        {"source": path, "row": 0, "reason": "conflict"},
        {"source": path, "row": 3, "reason": "conflict"},
    ]
    kept = lake.read(schema.TRANSACTIONS)
    assert kept.filter(pc.field("transaction_id") == "t9").column("amount_minor").to_pylist() == [100]
    # The refused t0 says fraud, but refused rows say nothing; t1's label is there once.
    assert sorted(lake.read(schema.LABELS).column("transaction_id").to_pylist()) == ["t1", "t9"]
    listed = lake.read(schema.INGESTED_FILES).sort_by("path").to_pylist()
    assert [(row["transactions"], row["known"], row["rejected"]) for row in listed] == [(4, 0, 0), (1, 1, 2)]


def test_known_transaction_takes_a_new_label(
    tmp_path: Path, lake: Lake, handbook: Mapping, ray_cluster: None
):
    pq.write_table(source_rows(n=3, TX_FRAUD=[0, 0, 0]), tmp_path / "a.parquet")
    pq.write_table(source_rows(n=3, TX_FRAUD=[0, 0, 1]), tmp_path / "b.parquet")
    assert run(lake, tmp_path / "a.parquet", handbook)["labels"] == 0
    report = run(lake, tmp_path / "b.parquet", handbook)
    assert (report["transactions"], report["known"], report["labels"]) == (0, 3, 1)


def test_crash_between_commits_is_taken_up(tmp_path: Path, lake: Lake, handbook: Mapping, ray_cluster: None):
    rows = source_rows(n=40, TX_AMOUNT=[None, *(1.0 + i for i in range(39))])
    pq.write_table(rows, tmp_path / "a.parquet")

    class CutShortError(RuntimeError):
        pass

    class Failing(Lake):
        def commit(self, name: str, *arguments: Any, **options: Any) -> int:
            if name == schema.LABELS:
                raise CutShortError
            return super().commit(name, *arguments, **options)

    with pytest.raises(CutShortError):
        run(Failing(lake.uri), tmp_path / "a.parquet", handbook)
    assert lake.exists(schema.TRANSACTIONS)
    assert not lake.exists(schema.LABELS)
    run(lake, tmp_path / "a.parquet", handbook)
    assert lake.read(schema.TRANSACTIONS).num_rows == 39
    assert lake.read(schema.REJECTS).num_rows == 1
    assert lake.read(schema.LABELS).num_rows == 8
    assert run(lake, tmp_path / "a.parquet", handbook)["files_skipped"] == 1


def test_too_many_refusals_leave_nothing(tmp_path: Path, lake: Lake, handbook: Mapping, ray_cluster: None):
    pq.write_table(source_rows(n=4, TX_AMOUNT=[1.0, None, -3.0, 4.0]), tmp_path / "a.parquet")
    with pytest.raises(QualityError, match="2 of 4 rows were refused") as caught:
        run(lake, tmp_path / "a.parquet", handbook, share=0.4)
    assert caught.value.reasons == {"missing_amount": 1, "negative_amount": 1}
    assert not lake.tables()
    assert not list(Path(lake.uri).rglob("*.parquet"))
    assert run(lake, tmp_path / "a.parquet", handbook, share=0.5)["rejected"] == 2


def test_file_that_is_written_to_while_it_is_read_leaves_nothing(
    tmp_path: Path, lake: Lake, handbook: Mapping, ray_cluster: None
):
    file = tmp_path / "a.csv"
    pacsv.write_csv(source_rows(n=4), file)

    class Beside(Lake):
        """A lake beside whose tasks another process appends to the file."""

        __slots__ = ()

        def write_part(self, *given: Any, **named: Any) -> Any:
            with file.open("a") as source:
                source.write("\n")
            return Lake.write_part(self, *given, **named)

    with pytest.raises(SourceError, match="was written to while it was read"):
        run(Beside(lake.uri), file, handbook)
    assert not lake.tables()
    assert not list(Path(lake.uri).rglob("*.parquet"))
    assert run(lake, file, handbook)["transactions"] == 4


def test_row_of_a_featurized_day_is_late(tmp_path: Path, lake: Lake, handbook: Mapping, ray_cluster: None):
    kind = schema.features(["amount"])
    event = datetime(2018, 4, 2, tzinfo=UTC)
    done = pa.table(
        {
            "transaction_id": ["x"],
            "event_time": [event],
            "history_complete": [True],
            "amount": [1.0],
            "event_date": [event.date()],
        }
    )
    lake.append("features_0011aabb", done.cast(kind))
    pq.write_table(source_rows(n=3), tmp_path / "a.parquet")
    assert run(lake, tmp_path / "a.parquet", handbook)["late"] == 1
    rows = {row["transaction_id"]: row for row in lake.read(schema.TRANSACTIONS).to_pylist()}
    assert rows["t1"]["known_at"] == NOW
    assert rows["t0"]["known_at"] == rows["t0"]["event_time"]
    pq.write_table(source_rows(n=3), tmp_path / "b.parquet", compression="none")
    assert run(lake, tmp_path / "b.parquet", handbook)["late"] == 0  # known, so not late again


def test_refused_row_is_kept_without_card_numbers(
    tmp_path: Path, lake: Lake, handbook: Mapping, ray_cluster: None
):
    rows = source_rows(n=3).set_column(2, "CUSTOMER_ID", pa.array(["4111 1111-1111 1111", "c1", "c2"]))
    pq.write_table(rows, tmp_path / "a.parquet")
    run(lake, tmp_path / "a.parquet", handbook)
    refused = lake.read(schema.REJECTS).to_pylist()[0]
    assert (refused["row"], refused["reason"]) == (0, "card_number")
    assert "token" in refused["detail"]
    raw = json.loads(refused["raw"])
    assert raw["CUSTOMER_ID"] == "*" * 19
    assert raw["TRANSACTION_ID"] == "t0"
    stored = b"".join(path.read_bytes() for path in Path(lake.uri).rglob("*") if path.is_file())
    assert b"1111-1111" not in stored


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.csv", None, SourceError, "no such file"),
        ("a.xlsx", b"x", SourceError, "the name must end in"),
        ("a.parquet", b"PAR1nonsense", SourceError, "cannot be read"),
        ("a.csv", b"", SourceError, "no rows"),
        ("a.csv", b"TRANSACTION_ID,TX_DATETIME\n", SchemaError, "'CUSTOMER_ID'"),
        ("a.csv", b"TRANSACTION_ID;TX_DATETIME\n1;2\n", SchemaError, "format.separator"),
        ("a.csv", b"transaction_id,TX_DATETIME\n1,2\n", SchemaError, "did you mean transaction_id"),
        ("a.jsonl", b'{"TX_DATETIME": "2018-04-01", "TX_AMOUNT": 3}\n', SchemaError, "'TRANSACTION_ID'"),
        ("a.csv", b"TRANSACTION_ID,TX_DATETIME\n\xff,2\n", SourceError, "format.encoding"),
    ],
)
def test_fault_of_the_run_writes_nothing(
    name: str, content: bytes | None, error: type[Exception], message: str, tmp_path: Path
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        run(Lake(str(tmp_path / "lake")), tmp_path / name, load("handbook", CONFIGS))
    assert not (tmp_path / "lake").exists()


def test_empty_files_among_others_are_passed_over(
    tmp_path: Path, lake: Lake, handbook: Mapping, ray_cluster: None
):
    pacsv.write_csv(source_rows(n=2), tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes((tmp_path / "a.csv").read_bytes().splitlines()[0])
    (tmp_path / "c.csv").write_bytes(b"")
    report = run(lake, tmp_path, handbook)
    assert (report["files"], report["rows"], report["transactions"]) == (3, 2, 2)


def test_other_columns_than_the_lake_are_refused(
    tmp_path: Path, lake: Lake, handbook: Mapping, ray_cluster: None
):
    pq.write_table(source_rows(n=2), tmp_path / "a.parquet")
    run(lake, tmp_path / "a.parquet", handbook)
    other = handbook.model_copy(update={"entities": {"card_id": "CUSTOMER_ID"}})
    pq.write_table(source_rows(first=5, n=2), tmp_path / "b.parquet")
    with pytest.raises(SchemaError, match="terminal_id"):
        run(lake, tmp_path / "b.parquet", other)
    assert lake.version(schema.TRANSACTIONS) == 0
