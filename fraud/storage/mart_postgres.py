"""The mart in PostgreSQL: everything of one publication is one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from adbc_driver_manager import dbapi as adbc
from adbc_driver_postgresql import dbapi

from fraud.address import parse, without_password
from fraud.errors import MartError
from fraud.mart.table import Table

_STAGE: Final = "mart_stage"
_TEXT: Final = 'text collate "C"'
"""Texts are ordered by their bytes, as in the lake, whatever the server's language; that is quicker, too."""
_LOCK: Final = 0x66726175646D6172
"""Of all publications into a database: one after the other."""


@dataclass(frozen=True, slots=True)
class MartPostgres:
    """A schema of a database, inside a transaction.

    Attributes:
        cursor: Of the connection.
        schema: Its name; names in statements mean its tables.
    """

    cursor: adbc.Cursor
    schema: str

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        self.cursor.execute(statement, parameters or None)
        return self.cursor.rowcount

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        self.cursor.execute(statement, parameters or None)
        return list(self.cursor.fetchall())

    def columns(self, table: str) -> list[str]:
        """The columns of a table, in their order; none where it is missing."""
        rows = self.query(
            "select column_name from information_schema.columns "
            "where table_schema = $1 and table_name = $2 order by ordinal_position",
            [self.schema, table],
        )
        return [str(name) for (name,) in rows]

    @contextmanager
    def staged(self, rows: pa.RecordBatchReader) -> Iterator[str]:
        """Bring rows into a table of their own, which is gone afterwards, and yield its name."""
        self.cursor.adbc_ingest(_STAGE, rows, mode="create", temporary=True)
        yield _STAGE
        self.execute(f"drop table {_STAGE}")

    def create(self, table: Table) -> None:
        """Make a table unless it is there, with an index on the days that reports choose by."""
        self.execute(table.create(key=True, text=_TEXT))
        if table.dates:
            self.execute(f"create index if not exists {table.name}_dates on {table.name} ({table.dates})")

    def grant(self, role: str) -> None:
        """Make a role without a login unless it is there, and let it read the schema, now and later."""
        if not self.query("select 1 from pg_roles where rolname = $1", [role]):
            self.execute(f"create role {role} nologin")
        self.execute(f"grant usage on schema {self.schema} to {role}")
        self.execute(f"grant select on all tables in schema {self.schema} to {role}")
        self.execute(f"alter default privileges in schema {self.schema} grant select on tables to {role}")


@contextmanager
def transaction(uri: str, schema: str) -> Iterator[MartPostgres]:
    """Connect and begin, wait for other publications, make the schema; commit at the end, or nothing.

    Args:
        uri: With the password; never shown.
        schema: A plain name, made where it is missing.

    Raises:
        ConfigError: The URI is missing or malformed.
        MartError: The database cannot be reached, goes away or refuses; nothing was committed.
    """
    address = parse(uri)
    try:
        with dbapi.connect(uri) as connection, connection.cursor() as cursor:
            mart = MartPostgres(cursor, schema)
            try:
                mart.query(f"select pg_advisory_xact_lock({_LOCK})")
                if not mart.query("select 1 from pg_namespace where nspname = $1", [schema]):
                    mart.execute(f"create schema {schema}")
                mart.execute(f"set local search_path to {schema}")
                yield mart
            except BaseException:
                with suppress(adbc.Error):
                    connection.rollback()
                raise
            connection.commit()
    except adbc.Error as error:
        problem = without_password(str(error).strip().splitlines()[0], uri)
        raise MartError(str(address), problem) from None
