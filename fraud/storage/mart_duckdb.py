"""The mart in a DuckDB file of its own, from which exports are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import duckdb
import pyarrow as pa

from fraud.errors import NotWrittenError

Format = Literal["parquet", "csv"]

_MEMORY: Final = "1GB"
"""What does not fit goes to the folder's disk."""
_OPTIONS: Final = {"parquet": "format parquet, compression zstd", "csv": "format csv, header"}


@dataclass(frozen=True, slots=True)
class MartDuckdb:
    """The tables and views while an export is made."""

    connection: duckdb.DuckDBPyConnection

    def execute(self, statement: str) -> None:
        """Run a statement."""
        self.connection.execute(statement)

    def load(self, table: str, rows: pa.RecordBatchReader) -> None:
        """Append rows to a table, batch by batch."""
        self.connection.register("incoming", rows)
        self.connection.execute(f"insert into {table} by name select * from incoming")
        self.connection.unregister("incoming")

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Run a query and return its rows."""
        return list(self.connection.execute(statement).fetchall())

    def write(self, name: str, file: Path, form: Format) -> int:
        """Write a table or view to a file; return its number of rows."""
        # A file's name cannot be a parameter of COPY.
        quoted = str(file).replace("'", "''")
        written = self.connection.execute(f"copy (select * from {name}) to '{quoted}' ({_OPTIONS[form]})")
        return int((written.fetchone() or (0,))[0])


@contextmanager
def building(folder: Path) -> Iterator[MartDuckdb]:
    """Make an empty mart in a folder that the caller deletes.

    Raises:
        NotWrittenError: The disk is full or fails.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY,
        "temp_directory": str(folder / "spill"),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "TimeZone": "UTC",
    }
    try:
        with duckdb.connect(str(folder / "mart.duckdb"), config=config) as connection:
            yield MartDuckdb(connection)
    except (duckdb.IOException, duckdb.OutOfMemoryException, OSError) as error:
        raise NotWrittenError(str(folder), str(error).splitlines()[0]) from error
