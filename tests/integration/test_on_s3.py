"""The lake and its sources in an S3-compatible store: the same tables, writers that harm each other not."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest
from pyarrow import fs

from cluster.wiring import mapping
from fraud import schema
from fraud.errors import ChangedMeanwhileError, SourceError
from fraud.jobs import ingest
from fraud.jobs.source import SourceName
from fraud.jobs.source_files import find_files
from fraud.settings import IngestSettings, MoneySettings
from fraud.storage.files import located
from fraud.storage.lake import Lake

KIND = pa.schema([pa.field("writer", pa.string()), pa.field(schema.PARTITION, pa.date32(), nullable=False)])
DAY = date(2026, 3, 1)
COMMITS = 8
WRITER = """
import sys
from datetime import date
import pyarrow as pa
from fraud.storage.lake import Lake
uri, name, commits = sys.argv[1:]
lake, day = Lake(uri), date(2026, 3, 1)
for number in range(int(commits)):
    part = lake.write_part("scores", pa.table({"writer": [name]}), day)
    lake.commit_beside("scores", lake.version("scores"), [part], apps={f"{name}:{number}": 1})
"""


@pytest.fixture
def remote(s3_bucket: str) -> Lake:
    return Lake(f"{s3_bucket}/{uuid4().hex}")


def rows(writer: str) -> pa.Table:
    return pa.table({"writer": [writer], schema.PARTITION: [DAY]}, schema=KIND)


def put(uri: str, content: bytes) -> None:
    store, path = located(uri)
    with store.open_output_stream(path) as file:
        file.write(content)


def test_two_processes_that_write_at_once_lose_and_double_nothing(remote: Lake):
    remote.ensure("scores", KIND)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, remote.uri, name, str(COMMITS)])
        for name in ("one", "two")
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert Counter(remote.read("scores").column("writer").to_pylist()) == {"one": COMMITS, "two": COMMITS}
    assert remote.version("scores") == 2 * COMMITS


def test_of_two_writers_of_the_same_work_one_comes_first_and_the_other_leaves_no_file(remote: Lake):
    remote.ensure("scores", KIND)
    first, second = (remote.write_parts("scores", rows(name)) for name in ("first", "second"))
    remote.commit_beside("scores", 0, first, apps={"score:1": 1})
    with pytest.raises(ChangedMeanwhileError):
        remote.commit_beside("scores", 0, second, apps={"score:1": 1})
    remote.discard("scores", second)
    remote.discard("scores", second)
    store, path = located(remote.table_uri("scores"))
    files = store.get_file_info(fs.FileSelector(path, recursive=True))
    assert [info.path for info in files if info.path.endswith(".parquet")] == [f"{path}/{first[0].path}"]
    assert remote.tables() == ["scores"]


def test_a_commit_whose_answer_was_lost_is_no_other_writers(remote: Lake):
    remote.ensure("scores", KIND)
    parts = remote.write_parts("scores", rows("one"))
    remote.commit_beside("scores", 0, parts, apps={"score:1": 1})
    # The client sends what it got no answer to again, and is then told that somebody was there before.
    remote.commit_beside("scores", 0, parts, apps={"score:1": 1})
    assert remote.read("scores").num_rows == 1


@pytest.mark.ray
def test_files_in_a_store_are_ingested_into_a_lake_in_a_store(ray_cluster: str, remote: Lake):
    folder = f"{remote.uri}-source"
    header = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD,TX_FRAUD_SCENARIO\n"
    put(f"{folder}/a.csv", (header + "1,2026-03-01 10:00:00,c1,t1,12.50,0,0\n").encode())
    put(f"{folder}/deep/b.csv", (header + "2,2026-03-01 11:00:00,c1,t1,0.50,1,1\n3,x,c1,t1,1,0,0\n").encode())
    put(f"{folder}/notes.md", b"not read")
    options = {"ingest": IngestSettings(max_reject_share=0.5), "money": MoneySettings()}
    now = datetime(2026, 3, 2, tzinfo=UTC)
    report = ingest.run(remote, SourceName(folder), mapping("handbook"), now=now, **options)
    assert (report["files"], report["transactions"], report["labels"], report["rejected"]) == (2, 2, 1, 1)
    amounts = remote.read(schema.TRANSACTIONS, columns=["amount_minor"]).column(0).to_pylist()
    assert sorted(amounts) == [50, 1250]  # files are in the order of their random names
    assert sorted(remote.read(schema.INGESTED_FILES).column("path").to_pylist()) == [
        f"{folder}/a.csv",
        f"{folder}/deep/b.csv",
    ]
    again = ingest.run(remote, SourceName(folder), mapping("handbook"), now=now, **options)
    assert (again["files"], again["files_skipped"]) == (0, 2)


def test_a_bucket_or_folder_that_is_not_there_is_named(s3_bucket: str, tmp_path: Path):
    with pytest.raises(SourceError, match=r"nothing-here: no such file or folder"):
        find_files(f"{s3_bucket}/nothing-here")
    with pytest.raises(SourceError, match=r"no-such-bucket/x: cannot be listed.*NO_SUCH_BUCKET"):
        find_files("s3://no-such-bucket/x")
