"""What tables and views of the mart are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from fraud.schema import TIME

ADDS: Final = "yes"
"""A measure that may be summed over any rows."""
AVERAGES: Final = "no"
"""A measure whose sum means nothing: average it, or compute it from measures that add up."""
WITHIN_AS_OF: Final = "within one as_of"
"""A measure that may be summed over anything but days of knowledge, each of which counts all anew."""

ARROW_TYPES: Final[Mapping[str, pa.DataType]] = {
    "text": pa.string(),
    "timestamptz": TIME,
    "date": pa.date32(),
    "bigint": pa.int64(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
}
"""By SQL type, in the spelling that PostgreSQL and DuckDB share."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table or view.

    Attributes:
        name: Its name, the same in the lake where it comes from there.
        type: Its SQL type, of ``ARROW_TYPES``.
        meaning: For the reader of a report, with the unit.
        adds: Over what sums of a measure mean something; empty where it is none.
    """

    name: str
    type: str
    meaning: str
    adds: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the mart.

    Attributes:
        name: In the mart.
        grain: What one row is.
        key: The columns that tell rows apart.
        columns: All of them.
        source: The table of the lake its rows come from; empty where the mart makes them.
        dates: The column reports choose days by, where there is one.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    source: str = ""
    dates: str = ""

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [column.name for column in self.columns]

    def create(self, *, key: bool, text: str = "text") -> str:
        """The statement that makes it unless it is there; texts are of type ``text``."""
        kinds = {"text": text}
        lines = [f"{quoted(column.name)} {kinds.get(column.type, column.type)}" for column in self.columns]
        lines += [f"primary key ({', '.join(map(quoted, self.key))})"] if key else []
        return f"create table if not exists {self.name} (\n  " + ",\n  ".join(lines) + "\n)"

    def insert(self, rows: str) -> str:
        """The statement that adds the rows of another table which are not there yet."""
        names = ", ".join(map(quoted, self.names))
        return f"insert into {self.name} ({names}) select {names} from {rows} on conflict do nothing"


@dataclass(frozen=True, slots=True)
class Dimension:
    """A table of what facts refer to, filled from them.

    Attributes:
        table: Its first column is the key.
        facts: The facts that refer to it; a column that a fact lacks stays empty in its rows.
    """

    table: Table
    facts: tuple[Table, ...]

    def fill(self, fact: Table, rows: str) -> str:
        """The statement that adds what rows of a fact refer to for the first time."""
        key, *others = (quoted(name) for name in self.table.names)
        present = [name for name in others if name in map(quoted, fact.names)]
        values = ", ".join([key, *(f"min({name})" for name in present)])
        return (
            f"insert into {self.table.name} ({', '.join([key, *present])}) "
            f"select {values} from {rows} where {key} is not null group by {key} on conflict do nothing"
        )


@dataclass(frozen=True, slots=True)
class View:
    """A view of the mart.

    Attributes:
        name: In the mart.
        grain: What one row is.
        columns: All of them, in their order.
        query: One text for every database.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    query: str

    def create(self) -> str:
        """The statement that makes it, or puts this definition in the place of an earlier one."""
        return f"create or replace view {self.name} as\n{self.query}"


def quoted(name: str) -> str:
    """Return a name as SQL has it: a mapping may call its columns what SQL has reserved."""
    return '"' + name.replace('"', '""') + '"'
