"""The mart in a real PostgreSQL: once, whole, again without harm, and read by those who may."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_postgresql import dbapi
from factories import label_table, transaction_table
from factories_mart import OPTIONS, SETTINGS, START, fill, score_table
from postgres_server import PASSWORD, PostgresServer, needed, running
from pydantic import SecretStr

from fraud import schema
from fraud.errors import ConfigError, MartError
from fraud.jobs import mart_export, mart_publish
from fraud.jobs.mart_rows import mart_of
from fraud.mart.table import ARROW_TYPES
from fraud.settings import MartSettings
from fraud.storage.lake import Lake
from fraud.storage.mart_postgres import MartPostgres

pytestmark = needed

NOW = datetime(2024, 3, 1, tzinfo=UTC)
FACTS = ("fact_transaction", "fact_score", "fact_decision", "fact_label", "fact_alert")


@pytest.fixture
def server(database_server: PostgresServer) -> PostgresServer:
    return database_server


@pytest.fixture
def uri(postgres_uri: str) -> str:
    return postgres_uri


def settings(uri: str, **differing: Any) -> MartSettings:
    return SETTINGS.model_copy(update={"uri": SecretStr(uri), **differing})


def publish(lake: Lake, uri: str, *, now: datetime = NOW, **differing: Any) -> dict[str, Any]:
    return mart_publish.run(lake, settings(uri, **differing), now=now, **OPTIONS)


def query(uri: str, statement: str) -> pa.Table:
    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("set search_path to mart")
        cursor.execute(statement)
        return cursor.fetch_arrow_table()


def rows(uri: str, name: str) -> list[dict[str, Any]]:
    return query(uri, f"select * from {name}").to_pylist()


def whole(uri: str) -> dict[str, list[str]]:
    names = (*FACTS, "dim_model", "dim_policy", "dim_terminal", "mart_setting", "mart_publication")
    return {name: sorted(map(str, rows(uri, name))) for name in names}


def test_publishing_twice_adds_nothing(lake: Lake, uri: str) -> None:
    fill(lake)
    first = publish(lake, uri)
    assert first["added"]["fact_score"] == 300 + 150 + 300
    before = whole(uri)
    second = publish(lake, uri, now=NOW + timedelta(days=1))
    assert set(second["added"].values()) == {0}
    assert whole(uri) == before


def test_only_what_came_since_is_read(lake: Lake, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lake)
    publish(lake, uri)
    new = transaction_table([{"transaction_id": "new", "event_time": START + timedelta(days=40)}])
    lake.append(schema.TRANSACTIONS, new)
    lake.append(schema.SCORES, score_table(new))
    read: list[str] = []
    real = Lake.read_part

    def noted(self: Lake, name: str, *arguments: Any, **options: Any) -> pa.Table:
        read.append(name)
        return real(self, name, *arguments, **options)

    monkeypatch.setattr(Lake, "read_part", noted)
    added = publish(lake, uri, now=NOW + timedelta(days=1))["added"]
    assert sorted(read) == [schema.SCORES, schema.TRANSACTIONS]
    assert {name: n for name, n in added.items() if n} == {"fact_score": 1, "fact_transaction": 1}


def test_rows_that_come_again_in_other_files_add_nothing(lake: Lake, uri: str) -> None:
    fill(lake)
    publish(lake, uri)
    lake.append(schema.SCORES, lake.read(schema.SCORES))
    assert publish(lake, uri)["added"]["fact_score"] == 0


def test_views_say_what_those_of_an_export_say(lake: Lake, uri: str, tmp_path: Any) -> None:
    fill(lake)
    publish(lake, uri)
    mart_export.run(lake, SETTINGS, tmp_path / "out", form="parquet", **OPTIONS)
    mart = mart_of(lake, SETTINGS)
    for each in (*mart.tables, *mart.views):
        found = query(uri, f"select * from {each.name}")
        expected = {column.name: ARROW_TYPES[column.type] for column in each.columns}
        assert {field.name: field.type for field in found.schema} == expected, each.name
        of_time = [name for name in found.column_names if name in ("published_at", "updated_at")]
        exported = pq.read_table(tmp_path / "out" / f"{each.name}.parquet")
        mine, theirs = (
            sorted(map(str, table.drop_columns(of_time).to_pylist())) for table in (found, exported)
        )
        assert mine == theirs, each.name
        assert mine, each.name


@pytest.mark.parametrize("statement", ["fact_label", "fact_score", "mart_publication", "performance_week"])
def test_run_that_dies_in_the_middle_leaves_the_former_state(
    statement: str, lake: Lake, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    publish(lake, uri)
    before = whole(uri)
    new = transaction_table([{"transaction_id": "new", "event_time": START + timedelta(days=40)}])
    lake.append(schema.TRANSACTIONS, new)
    lake.append(schema.SCORES, score_table(new))
    lake.append(
        schema.LABELS,
        label_table(
            [{"transaction_id": "new", "event_time": START, "label_time": START + timedelta(days=50)}]
        ),
    )
    real = MartPostgres.execute

    def dying(self: MartPostgres, text: str, parameters: Any = ()) -> int:
        done = real(self, text, parameters)
        if statement in text and not text.startswith(("create table", "create index")):
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as patched:
        patched.setattr(MartPostgres, "execute", dying)
        with pytest.raises(KeyboardInterrupt):
            publish(lake, uri)
    assert whole(uri) == before
    added = publish(lake, uri)["added"]
    assert (added["fact_label"], added["fact_score"], added["fact_transaction"]) == (1, 1, 1)


def test_late_label_changes_the_newest_row_and_later_recall_only(lake: Lake, uri: str) -> None:
    events = [
        {"transaction_id": name, "event_time": START + timedelta(hours=hour)}
        for hour, name in enumerate(["a", "b", "c", "d"])
    ]
    transactions = transaction_table(events)
    lake.append(schema.TRANSACTIONS, transactions)
    scores = score_table(transactions).to_pylist()
    for row, decision in zip(scores, ["review", "approve", "approve", "approve"], strict=True):
        row["decision"] = decision
    lake.append(schema.SCORES, pa.Table.from_pylist(scores, schema=schema.SCORES_SCHEMA))
    first, late = START + timedelta(days=10), START + timedelta(days=20, hours=1)
    lake.append(
        schema.LABELS,
        label_table(
            [{**events[0], "label_time": first}, {**events[2], "label_time": late, "is_fraud": False}]
        ),
    )
    publish(lake, uri)
    measured = "select as_of, frauds, recall_share from performance_week where as_of in ({}) order by 1"
    days = "date '2024-01-11', date '2024-01-21', date '2024-01-22'"

    def recall() -> list[tuple[int, float]]:
        return [(row["frauds"], row["recall_share"]) for row in query(uri, measured.format(days)).to_pylist()]

    assert recall() == [(1, 1.0), (1, 1.0), (1, 1.0)]

    lake.append(schema.LABELS, label_table([{**events[1], "label_time": late}]))
    publish(lake, uri, now=NOW + timedelta(days=1))
    assert recall() == [(1, 1.0), (1, 1.0), (2, 0.5)]
    newest = {row["transaction_id"]: row for row in rows(uri, "transaction_newest")}
    assert newest["b"]["is_fraud"] is True
    assert newest["b"]["updated_at"] == NOW + timedelta(days=1)
    assert {newest[name]["updated_at"] for name in "acd"} == {NOW}


def test_label_maturity_is_in_the_mart_and_the_views_follow_it(lake: Lake, uri: str) -> None:
    fill(lake)
    publish(lake, uri)
    assert rows(uri, "mart_setting")[0]["label_maturity_d"] == 7
    matured = f"select sum(matured) as n from performance_model where as_of = date '{date(2024, 1, 20)}'"
    before = int(query(uri, matured).to_pylist()[0]["n"])
    mart_publish.run(lake, settings(uri), now=NOW, label_maturity_d=14, base_currency="EUR")
    assert int(query(uri, matured).to_pylist()[0]["n"]) < before


def test_reader_may_read_and_may_not_write(lake: Lake, uri: str, server: PostgresServer) -> None:
    fill(lake)
    publish(lake, uri)
    database = uri.rsplit("/", 1)[1]
    login = f"report_{uuid4().hex[:8]}"
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"create role {login} login password '{PASSWORD}' in role fraud_reader")
    reader = server.uri(database, user=login)
    for name in (*FACTS, "dim_model", "dim_terminal", "dim_date", "transaction_newest", "performance_week"):
        assert rows(reader, name), name
    for statement in (
        "delete from fact_score returning 1",
        "insert into dim_policy values ('x') returning 1",
        "create table mine (x int)",
        "drop view performance_week",
    ):
        with pytest.raises(dbapi.ProgrammingError, match=r"permission denied|must be owner"):
            query(reader, statement)


def test_card_id_does_not_leave(lake: Lake, uri: str) -> None:
    fill(lake)
    publish(lake, uri)
    found = query(uri, "select column_name from information_schema.columns where table_schema = 'mart'")
    names = {str(row["column_name"]) for row in found.to_pylist()}
    assert "terminal_id" in names
    assert names.isdisjoint({"card_id", "request", "answer", "features", "policy", "caller", "tie"})


def test_column_the_lake_lacks_is_refused(lake: Lake, uri: str) -> None:
    fill(lake, n=20)
    with pytest.raises(ConfigError, match="no column device_id to publish"):
        publish(lake, uri, entities=("device_id",))


def test_mart_of_other_columns_is_refused_with_what_to_do(lake: Lake, uri: str) -> None:
    fill(lake, n=20)
    publish(lake, uri)
    with pytest.raises(MartError, match=r"other columns \(card_id\): drop schema mart, or name another"):
        publish(lake, uri, entities=("terminal_id", "card_id"))


def test_mart_of_another_lake_is_refused(lake: Lake, uri: str, tmp_path: Any) -> None:
    fill(lake, n=20)
    publish(lake, uri)
    other = Lake(str(tmp_path / "other"))
    fill(other, n=20, seed=9)
    before = whole(uri)
    with pytest.raises(MartError, match="came from another lake"):
        publish(other, uri)
    assert whole(uri) == before


def test_mart_of_another_format_is_refused(lake: Lake, uri: str) -> None:
    fill(lake, n=20)
    publish(lake, uri)
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("update mart.mart_setting set format_version = 99")
    with pytest.raises(MartError, match="format version 99, not 1"):
        publish(lake, uri)


def test_wrong_password_is_refused_and_not_shown(lake: Lake, server: PostgresServer) -> None:
    fill(lake, n=20)
    with pytest.raises(MartError, match="password authentication failed") as refused:
        publish(lake, server.uri(password="wr0ng-one"))
    assert "wr0ng-one" not in str(refused.value)
    assert f"127.0.0.1:{server.port}/postgres" in str(refused.value)


def test_server_that_goes_away_gives_a_clear_error_and_the_next_run_completes(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    real = MartPostgres.execute
    with running() as mortal:
        uri = mortal.uri()

        def failing(self: MartPostgres, text: str, parameters: Any = ()) -> int:
            if text.startswith("insert into fact_score"):
                mortal.stop("immediate")
            return real(self, text, parameters)

        with monkeypatch.context() as patched:
            patched.setattr(MartPostgres, "execute", failing)
            with pytest.raises(MartError, match="nothing was published") as refused:
                publish(lake, uri)
        assert PASSWORD not in str(refused.value)
        with pytest.raises(MartError, match=r"onnection refused|Failed to connect") as refused:
            publish(lake, uri)
        assert PASSWORD not in str(refused.value)
        mortal.start()
        assert publish(lake, uri)["added"]["fact_score"] == 750
        assert set(publish(lake, uri)["added"].values()) == {0}
