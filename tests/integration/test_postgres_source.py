"""A table or query of a real PostgreSQL, read in pages: every row once, as of one moment."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi
from postgres_server import PASSWORD, needed

from fraud.errors import SourceError
from fraud.storage.postgres_source import Page, Relation, reading

pytestmark = needed

ROWS = 1000
TABLE = """
create table payments (id uuid default gen_random_uuid(), paid_at timestamptz not null, amount numeric(10,2),
    card varchar(20), online boolean, number int, "Of what" jsonb);
insert into payments (paid_at, amount, card, online, number, "Of what")
    select '2026-01-01'::timestamptz + (i / 3) * interval '1 second', i / 100.0, 'c' || i % 7, i % 2 = 0, i,
        '{"a": 1}' from generate_series(0, 999) i;
"""


def execute(uri: str, statements: str) -> None:
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements.split(";"):
            if statement.strip():
                cursor.execute(statement)


@pytest.fixture
def payments(postgres_uri: str) -> Iterator[Relation]:
    execute(postgres_uri, TABLE)
    return Relation(postgres_uri, '"payments"', "paid_at", "id")


def read_all(relation: Relation, rows: int, columns: tuple[str, ...] = ("number",)) -> pa.Table:
    with reading(relation) as reader:
        last = reader.last_key(None)
        assert last is not None
        pages = reader.pages(None, last, rows)
        tables = [reader.read(page, columns) for page in pages]
    assert [page.first_row for page in pages] == [
        sum(table.num_rows for table in tables[:before]) for before in range(len(tables))
    ]
    return pa.concat_tables(tables)


@pytest.mark.parametrize("rows", [1, 2, 100, 999, 1000, 5000])
def test_pages_hold_every_row_once_though_rows_share_a_key(payments: Relation, rows: int) -> None:
    assert sorted(read_all(payments, rows).column("number").to_pylist()) == list(range(ROWS))


@pytest.mark.parametrize("key", ["id", "card", "amount", "online", "number"])
def test_a_key_may_be_of_any_type_that_has_an_order(payments: Relation, key: str) -> None:
    along = Relation(payments.uri, payments.rows, key, "number")
    read = read_all(along, 100, ("number", key))
    assert sorted(read.column(0).to_pylist()) == list(range(ROWS))
    if key in {"amount", "number"}:  # in the database's order, though an amount arrives as a text
        assert read.column(0).to_pylist() == list(range(ROWS))


def test_what_arrow_has_no_plain_type_for_comes_as_the_text_the_database_shows(payments: Relation) -> None:
    table = read_all(payments, 1000, ("id", "paid_at", "amount", "card", "online", "Of what"))
    row = table.filter(pa.compute.equal(table.column("amount"), "1.23")).to_pylist()[0]
    assert (len(row["id"]), row["card"], row["online"], row["Of what"]) == (36, "c4", False, '{"a": 1}')
    assert row["paid_at"].isoformat() == "2026-01-01T00:00:41+00:00"


def test_all_who_join_a_snapshot_see_the_same_rows(payments: Relation) -> None:
    with reading(payments) as first:
        snapshot = first.exported()
        execute(payments.uri, "insert into payments (paid_at, number) values ('2026-01-01', -1)")
        with reading(payments, snapshot) as second:
            rows = second.read(Page(None, "2027-01-01", 0), ["number"])
    assert rows.num_rows == ROWS
    assert read_all(payments, 100).num_rows == ROWS + 1


def test_a_key_less_an_overlap_is_counted_by_the_database(payments: Relation) -> None:
    with reading(payments) as reader:
        assert reader.less("2026-01-01 00:05:33+00", "2 minutes") == "2026-01-01 00:03:33+00"
    with reading(Relation(payments.uri, '"payments"', "number", "id")) as reader:
        assert reader.less("999", "100") == "899"
        assert [page.after for page in reader.pages("899", "999", 1000)] == ["899"]
    with (
        pytest.raises(SourceError, match="invalid input syntax for type integer"),
        reading(Relation(payments.uri, '"payments"', "number", "id")) as reader,
    ):
        reader.less("999", "2 minutes")


def test_a_query_is_read_like_a_table(payments: Relation) -> None:
    query = Relation(payments.uri, "(select * from payments where online)", "paid_at", "id")
    assert read_all(query, 64).num_rows == ROWS / 2


def test_rows_without_a_key_are_refused_since_no_page_would_hold_them(payments: Relation) -> None:
    execute(payments.uri, "insert into payments (paid_at, number) values ('2026-01-01', null)")
    with (
        reading(Relation(payments.uri, '"payments"', "number", "id")) as reader,
        pytest.raises(SourceError, match="rows without number: they would never be read"),
    ):
        reader.last_key(None)


def test_a_session_that_reads_cannot_write(postgres_uri: str, payments: Relation) -> None:
    writing = "(with gone as (delete from payments returning *) select * from gone)"
    with (
        pytest.raises(SourceError),
        reading(Relation(postgres_uri, writing, "paid_at", "id")) as reader,
    ):
        reader.last_key(None)
    assert read_all(payments, 1000).num_rows == ROWS


@pytest.mark.parametrize(
    ("rows", "said"),
    [('"nothing"', 'relation "nothing" does not exist'), ("(select 1 +)", "syntax error")],
)
def test_what_the_database_refuses_is_said_without_its_password(postgres_uri: str, rows: str, said: str):
    relation = Relation(postgres_uri, rows, "k", "t")
    with pytest.raises(SourceError, match=said) as failed, reading(relation) as reader:
        reader.columns()
    assert PASSWORD not in str(failed.value)


def test_a_database_that_cannot_be_reached_is_named() -> None:
    relation = Relation("postgresql://reader:secret@127.0.0.1:1/shop", '"t"', "k", "t")
    named = r"postgresql://127\.0\.0\.1:1/shop: .*refused"
    with pytest.raises(SourceError, match=named) as failed, reading(relation):
        pass
    assert "secret" not in str(failed.value)
