"""A table or query in PostgreSQL, read page by page along a key, all pages as of one moment.

The first connection opens a transaction and exports its snapshot; readers on other machines join it, so that
pages neither overlap nor leave out a row while others write. Rows are ordered by the key, and those that
share one by their transaction id, so that a row has the same number whenever it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
from adbc_driver_manager import dbapi as adbc
from adbc_driver_postgresql import dbapi

from fraud.address import parse, without_password
from fraud.errors import SourceError


@dataclass(frozen=True, slots=True)
class Relation:
    """What is read, and where.

    Attributes:
        uri: Of the connection, with its password.
        rows: SQL after ``from``: a table's quoted name, or a query in parentheses.
        key: Column that pages are cut along.
        ties: Column that orders rows of the same key.
    """

    uri: str = field(repr=False)
    rows: str
    key: str
    ties: str


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a relation with ``after < key <= until``.

    Attributes:
        after: A key as PostgreSQL writes it; None: from the smallest on.
        until: A key as PostgreSQL writes it.
        first_row: How many rows of the span come before.
    """

    after: str | None
    until: str
    first_row: int


_PLAIN: Final = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_date,
    pa.types.is_timestamp,
)
"""What arrives as it is; all else as the text that PostgreSQL shows."""


class Reader:
    """A connection inside a snapshot."""

    def __init__(self, cursor: adbc.Cursor, relation: Relation) -> None:
        self._cursor = cursor
        self._relation = relation
        # In full, for a shown column has its name too, and is a text.
        self._key, self._ties = (f"selected.{quoted(name)}" for name in (relation.key, relation.ties))
        self._rows_of = f"{relation.rows} as selected"

    def exported(self) -> str:
        """Return the name under which others join this snapshot, as long as this connection lives."""
        self._cursor.execute("set idle_in_transaction_session_timeout = 0")
        return str(self._one("select pg_export_snapshot()"))

    def columns(self) -> list[str]:
        """The relation's columns."""
        return list(self._empty().names)

    def last_key(self, after: str | None) -> str | None:
        """The largest key above another, None where there is none.

        Raises:
            SourceError: Rows have no key: they would never be read.
        """
        if self._one(f"select exists (select from {self._rows_of} where {self._key} is null)"):
            raise SourceError(
                str(parse(self._relation.uri)), f"rows without {self._relation.key}: they would never be read"
            )
        # There is no max() of UUIDs; the index serves this as well.
        largest = self._one(
            f"select {self._key}::text from {self._rows_of} {self._after(after)} "
            f"order by {self._key} desc limit 1"
        )
        return None if largest is None else str(largest)

    def less(self, key: str, overlap: str) -> str:
        """Return the key so far below another: a number below a number, a time span below a time."""
        kind = self._kind()
        step = "interval" if kind.startswith(("timestamp", "date")) else kind
        return str(self._one(f"select (cast($1 as {kind}) - cast($2 as {step}))::text", [key, overlap]))

    def pages(self, after: str | None, until: str, rows: int) -> list[Page]:
        """Cut ``after < key <= until`` into pages of about so many rows; equal keys stay together."""
        span = f"{self._after(after)} and {self._key} <= {self._literal(until)}"
        counted = (
            f"select {self._key} as key, row_number() over by_key as number, "
            f"count(*) over by_key as upto, count(*) over () as total from {self._rows_of} {span} "
            f"window by_key as (order by {self._key})"
        )
        ends = self._rows(
            f"select distinct key::text, upto from ({counted}) as counted "
            f"where number % {rows} = 0 or number = total order by upto"
        )
        starts = [(after, 0), *((str(key), int(upto)) for key, upto in ends)]
        return [
            Page(start, str(key), first) for (start, first), (key, _) in zip(starts[:-1], ends, strict=True)
        ]

    def read(self, page: Page, columns: Sequence[str], limit: int | None = None) -> pa.Table:
        """Return the rows of a page, in their order."""
        kinds = self._empty()
        wanted = ", ".join(
            quoted(name)
            if any(plain(kinds.field(name).type) for plain in _PLAIN)
            else f"{quoted(name)}::text"
            for name in columns
        )
        self._cursor.execute(
            f"select {wanted} from {self._rows_of} {self._after(page.after)} "
            f"and {self._key} <= {self._literal(page.until)} "
            f"order by {self._key}, {self._ties} {'' if limit is None else f'limit {limit}'}"
        )
        return self._cursor.fetch_arrow_table().rename_columns(list(columns))

    def _empty(self) -> pa.Schema:
        self._cursor.execute(f"select * from {self._rows_of} limit 0")
        return self._cursor.fetch_arrow_table().schema

    def _kind(self) -> str:
        return str(self._one(f"select pg_typeof({self._key})::text from {self._rows_of} limit 1"))

    def _after(self, after: str | None) -> str:
        # Never true of no key: those are refused before.
        return f"where {self._key} {'is not null' if after is None else f'> {self._literal(after)}'}"

    def _literal(self, key: str) -> str:
        # A literal takes the key's own type, whatever that is, and the index serves it.
        return "'" + key.replace("'", "''") + "'"

    def _one(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        rows = self._rows(statement, parameters)
        return rows[0][0] if rows else None

    def _rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self._cursor.execute(statement, parameters or None)
        return list(self._cursor.fetchall())


@contextmanager
def reading(relation: Relation, snapshot: str | None = None) -> Iterator[Reader]:
    """Connect, and read as of one moment: now, or that of a snapshot another connection exported.

    Raises:
        ConfigError: The URI is not one of PostgreSQL.
        SourceError: The database cannot be reached, goes away, or refuses.
    """
    address = parse(relation.uri, "SOURCE")
    try:
        with dbapi.connect(relation.uri) as connection, connection.cursor() as cursor:
            cursor.execute("set transaction isolation level repeatable read, read only")
            if snapshot is not None:
                cursor.execute(f"set transaction snapshot '{snapshot}'")
            # Keys travel as text: one way to write them, whatever the server's settings.
            for setting in ("timezone = 'UTC'", "datestyle = 'ISO'", "standard_conforming_strings = on"):
                cursor.execute(f"set local {setting}")
            yield Reader(cursor, relation)
    except adbc.Error as error:
        said = without_password(str(error).strip().splitlines()[0], relation.uri)
        raise SourceError(f"postgresql://{address}", said) from None


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
