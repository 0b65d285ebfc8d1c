"""A table of a real PostgreSQL through a mapping into the lake, on a real Ray."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from adbc_driver_postgresql import dbapi
from postgres_server import PASSWORD, needed, running
from pydantic import SecretStr

from fraud import schema
from fraud.errors import ConfigError, SchemaError, SourceError
from fraud.jobs import ingest, source_database
from fraud.jobs.source import SourceName
from fraud.mapping.spec import Mapping, load
from fraud.settings import IngestSettings, MoneySettings
from fraud.storage.lake import Lake

pytestmark = [needed, pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MAPPING = """format_version: 1
database: {table: shop.payments, key: number%s}
columns: {transaction_id: id, event_time: paid_at, amount: amount}
amount: {currency: EUR}
entities: {card_id: card}
labels: {column: fraud, source: chargeback, delay_d: 7, genuine: presumed}
"""
TABLE = """
create schema shop;
create table shop.payments (number bigint primary key, id uuid default gen_random_uuid(), paid_at timestamptz,
    amount numeric(10,2), card varchar(20), fraud int)
"""
ROWS = """insert into shop.payments (number, paid_at, amount, card, fraud)
    select i, '2026-02-01'::timestamptz + i * interval '1 second', i / 100.0, 'c' || mod(i, 7),
        (mod(i, 50) = 1)::int from generate_series(%d, %d) i"""


def execute(uri: str, *statements: str) -> None:
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in ";".join(statements).split(";"):
            cursor.execute(statement)


def declared(folder: Path, extra: str = "", text: str = MAPPING) -> Mapping:
    file = folder / "payments.yaml"
    file.write_text(text % extra if "%s" in text else text)
    return load(str(file), folder)


def run(lake: Lake, uri: str, mapping: Mapping) -> dict[str, Any]:
    name = SourceName(uri.replace(f":{PASSWORD}@", "@"), password=SecretStr(PASSWORD))
    return ingest.run(lake, name, mapping, ingest=IngestSettings(), money=MoneySettings(), now=NOW)


def counts(report: dict[str, Any]) -> tuple[int, int, int]:
    return report["rows"], report["transactions"], report["known"]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_database, "BATCH_ROWS", 150)


@pytest.mark.usefixtures("pages")
def test_each_ingest_brings_what_the_key_has_grown_by(lake: Lake, tmp_path: Path, postgres_uri: str) -> None:
    execute(postgres_uri, TABLE, ROWS % (1, 1000))
    mapping = declared(tmp_path, ", overlap: 100")
    first = run(lake, postgres_uri, mapping)
    assert first["rejected_by_reason"] == {}
    assert counts(first) == (1000, 1000, 0)
    # One row became visible late, and one that was read before has another amount now.
    execute(postgres_uri, "delete from shop.payments where number = 950", "select 1")
    execute(postgres_uri, ROWS % (1001, 1200), "update shop.payments set amount = 7 where number = 990")
    execute(postgres_uri, ROWS % (950, 950))
    second = run(lake, postgres_uri, mapping)
    assert counts(second) == (300, 201, 98)
    assert second["rejected_by_reason"] == {"conflict": 1}
    assert counts(run(lake, postgres_uri, mapping)) == (100, 0, 100)
    ids = lake.read(schema.TRANSACTIONS, columns=["transaction_id"]).column(0).to_pylist()
    assert len(ids) == len(set(ids)) == 1201
    assert lake.read(schema.LABELS, columns=["is_fraud"]).num_rows == 24
    rejected = lake.read(schema.REJECTS).to_pylist()[0]
    assert '"amount":"7.00"' in rejected["raw"].replace(" ", "")
    ledger = lake.read(schema.INGESTED_FILES).sort_by("path").column("path").to_pylist()
    assert [path.split("?")[1] for path in ledger] == [
        "after=1100&until=1200",
        "after=900&until=1200",
        "until=1000",
    ]
    assert PASSWORD not in str(ledger)


def test_without_an_overlap_every_row_is_looked_at_and_none_comes_in_twice(
    lake: Lake, tmp_path: Path, postgres_uri: str
) -> None:
    execute(postgres_uri, TABLE, ROWS % (500, 600))
    assert counts(run(lake, postgres_uri, declared(tmp_path))) == (101, 101, 0)
    execute(postgres_uri, ROWS % (1, 9))
    assert counts(run(lake, postgres_uri, declared(tmp_path))) == (110, 9, 101)


def test_a_table_without_rows_is_nothing_new(lake: Lake, tmp_path: Path, postgres_uri: str) -> None:
    execute(postgres_uri, TABLE)
    report = run(lake, postgres_uri, declared(tmp_path))
    assert (report["files"], counts(report)) == (0, (0, 0, 0))


@pytest.mark.usefixtures("pages")
def test_a_database_that_goes_away_in_the_middle_leaves_the_lake_as_it_was(
    lake: Lake, tmp_path: Path
) -> None:
    slow = MAPPING.replace("table: shop.payments", "query: 'select *, pg_sleep(0.002) from shop.payments'")
    with running() as server:
        execute(server.uri(), TABLE, ROWS % (1, 450))
        mapping = declared(tmp_path, text=slow % "")

        def stop() -> None:
            _until_read(server.uri())
            server.stop("immediate")

        stopper = threading.Thread(target=stop)
        stopper.start()
        with pytest.raises(SourceError, match=r"postgresql://127\.0\.0\.1:\d+/postgres: .*terminat|closed"):
            run(lake, server.uri(), mapping)
        stopper.join()
        assert lake.tables() == []
        server.start()
        assert counts(run(lake, server.uri(), mapping)) == (450, 450, 0)


def _until_read(uri: str) -> None:
    """Wait until a task reads its page: the first pages are cut without sleeping that long."""
    deadline = time.monotonic() + 60
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(
                "select count(*) from pg_stat_activity where query like '%order by selected.\"number\", %' "
                "and query not like '%limit%' and query not like '%pg_stat%' and state = 'active'"
            )
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("key: numbr", "key: number", "no column 'numbr', the key.*number"),
        ("card_id: crad", "card_id: card", "column 'crad'.*card"),
        ("shop.nothing", "shop.payments", "shop.nothing.*does not exist"),
        ("", "database: {table: shop.payments, key: number}\n", "has no section database"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, postgres_uri: str, wrong: str, right: str, said: str):
    lake, text = Lake(str(tmp_path / "lake")), MAPPING % ""
    assert right in text
    execute(postgres_uri, TABLE, ROWS % (1, 5))
    with pytest.raises((SourceError, SchemaError), match=said):
        run(lake, postgres_uri, declared(tmp_path, text=text.replace(right, wrong)))
    assert lake.tables() == []


def test_a_password_in_the_source_is_refused(lake: Lake, tmp_path: Path, postgres_uri: str) -> None:
    with pytest.raises(ConfigError, match="set FRAUD_INGEST__DATABASE_PASSWORD instead"):
        ingest.run(
            lake,
            SourceName(postgres_uri),
            declared(tmp_path),
            ingest=IngestSettings(),
            money=MoneySettings(),
            now=NOW,
        )
