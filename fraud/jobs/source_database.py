"""A span of a table or query in PostgreSQL as a source: what its key has grown by, read in pages by tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import numpy as np
import pyarrow as pa

from fraud.address import parse, with_password
from fraud.errors import ConfigError, SourceError
from fraud.jobs.source_rows import BATCH_ROWS, Batch
from fraud.jobs.source_type import Described
from fraud.mapping.database import Database
from fraud.mapping.spec import FileFormat, Mapping
from fraud.mapping.yaml_file import close_match
from fraud.storage.postgres_source import Page, Reader, Relation, quoted, reading

_SETTING: Final = "FRAUD_INGEST__DATABASE_PASSWORD"


@dataclass(frozen=True, slots=True)
class TablePage:
    """A page for one task.

    Attributes:
        path: That of its span.
        relation: The table or query.
        snapshot: As of when it is read.
        page: Which rows.
        columns: Those that the mapping reads.
    """

    path: str
    relation: Relation
    snapshot: str
    page: Page
    columns: tuple[str, ...]

    @property
    def first_row(self) -> int:
        """Number of its first row in the span."""
        return self.page.first_row

    def batches(self, file: FileFormat, rows: int) -> Iterator[Batch]:
        """Read it whole: it has about ``BATCH_ROWS`` rows."""
        with reading(self.relation, self.snapshot) as reader:
            table = reader.read(self.page, self.columns)
        yield Batch(table, np.arange(self.first_row, self.first_row + table.num_rows))


@dataclass(frozen=True, slots=True)
class TableSpan:
    """The rows of a relation whose key is above one value and not above another.

    Attributes:
        path: Names the database, the relation and the two keys; no password.
        relation: The table or query.
        reader: The connection whose snapshot all tasks join.
        columns: Those that the mapping reads.
        present: All those of the relation.
        after: The key before the first; None: from the smallest on.
        until: The last key.
        number: How many spans of the relation were ingested before.
    """

    path: str
    relation: Relation
    reader: Reader
    columns: tuple[str, ...]
    present: tuple[str, ...]
    after: str | None
    until: str
    number: int

    @property
    def sparse(self) -> bool:
        """Every row has all columns."""
        return False

    def describe(self) -> Described:
        """Return which span of the relation it is: its rows are not read for that."""
        said = f"{self.path}\n{self.number}"
        return Described(self, hashlib.sha256(said.encode()).hexdigest(), 0)

    def check_unchanged(self, before: Described) -> None:
        """A snapshot does not change."""

    def head(self, file: FileFormat, n: int) -> tuple[list[str], pa.Table | None]:
        """Return the relation's columns and the span's first rows."""
        rows = self.reader.read(Page(self.after, self.until, 0), self.columns, limit=n)
        return list(self.present), rows

    def slices(self) -> Sequence[TablePage]:
        """Cut it into pages of about ``BATCH_ROWS`` rows."""
        snapshot = self.reader.exported()
        pages = self.reader.pages(self.after, self.until, BATCH_ROWS)
        return [TablePage(self.path, self.relation, snapshot, page, self.columns) for page in pages]


@contextmanager
def opened_span(
    uri: str, password: str, mapping: Mapping, before: Sequence[str], pending: Sequence[str]
) -> Iterator[list[TableSpan]]:
    """Connect, and yield the span to be read next; none where the relation has no new rows.

    Args:
        uri: Of the database, without a password.
        password: May be empty, where the server or a password file knows better.
        mapping: Says which relation.
        before: Paths of the spans that were ingested under this mapping, in their order.
        pending: Paths of spans whose ingest was cut short.

    Raises:
        ConfigError: The URI is not one of PostgreSQL, or has a password in it.
        SourceError: The database cannot be reached, goes away, or lacks the relation or its key.
    """
    address = parse(uri, "SOURCE")
    if urlsplit(uri).password:
        raise ConfigError("SOURCE", f"shows a password to whoever lists processes: set {_SETTING} instead")
    database = mapping.database
    if database is None:
        said = f"the mapping {mapping.name} has no section database: which table or query?"
        raise SourceError(f"postgresql://{address}", said)
    relation = _relation(with_password(uri, password), database, mapping)
    base = f"postgresql://{address}/{quote(database.table or 'query')}"
    of_base = [path for path in before if path.split("?")[0] == base]
    with reading(relation) as reader:
        present = tuple(reader.columns())
        if database.key not in present:
            said = f"has no column {database.key!r}, the key{close_match(database.key, present)}"
            raise SourceError(base, said)
        cut_short = next((path for path in pending if path.split("?")[0] == base), None)
        after, until = _keys(cut_short) if cut_short else _next_keys(reader, database, of_base)
        if until is None:
            yield []
            return
        keys = {"until": until} if after is None else {"after": after, "until": until}
        path = f"{base}?{urlencode(keys)}"
        columns = tuple(name for name in mapping.source_columns() if name in present)
        yield [TableSpan(path, relation, reader, columns, present, after, until, len(of_base))]


def _relation(uri: str, database: Database, mapping: Mapping) -> Relation:
    if database.table is not None:
        rows = ".".join(quoted(name) for name in database.table.split("."))
    else:
        rows = f"({database.query}\n)"  # the query's last line may be a comment
    return Relation(uri, rows, database.key, mapping.columns.transaction_id)


def _next_keys(reader: Reader, database: Database, before: Sequence[str]) -> tuple[str | None, str | None]:
    after = None
    if database.overlap is not None and before:
        _, last = _keys(before[-1])
        after = reader.less(last, database.overlap) if last is not None else None
    return after, reader.last_key(after)


def _keys(path: str) -> tuple[str | None, str | None]:
    said = dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))
    return said.get("after"), said.get("until")
