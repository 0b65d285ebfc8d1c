"""A Delta table of somebody else's: the files of a range of its versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow.fs import FileType

from fraud.errors import SourceError
from fraud.storage.files import located

_READ_AS_PLAIN: Final = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
"""Features of a table whose files are nevertheless plain Parquet, every row of them valid."""

_PARTITION: Final = "partition."


@dataclass(frozen=True, slots=True)
class DeltaFile:
    """A file of a table.

    Attributes:
        path: As of the table's own address.
        partition: Columns that stand in the log alone, with their one value.
    """

    path: str
    partition: tuple[tuple[str, Any], ...]


def is_delta(uri: str) -> bool:
    """Whether a folder is a Delta table."""
    files, path = located(uri)
    return bool(files.get_file_info(f"{path}/_delta_log").type == FileType.Directory)


def files_of(uri: str, first: int | None, last: int | None) -> list[DeltaFile]:
    """Return the files that versions ``first`` to ``last`` brought and ``last`` still has, by their paths.

    Args:
        uri: The table.
        first: None: from the table's first version on.
        last: None: up to its newest version.

    Raises:
        SourceError: There is no such version, or the table keeps deletions or names beside its files.
    """
    table = _opened(uri, last)
    _check_plain(uri, table)
    found = _actions(uri, table)
    if first is not None and first > 0:
        _check_order(uri, first, table.version())
        for path in _actions(uri, _opened(uri, first - 1)):
            found.pop(path, None)
    return [found[path] for path in sorted(found)]


def _opened(uri: str, version: int | None) -> DeltaTable:
    try:
        return DeltaTable(uri, version=version)
    except (DeltaError, OSError) as error:
        which = "" if version is None else f"version {version} of "
        raise SourceError(uri, f"{which}the Delta table cannot be read: {_first_line(error)}") from error


def _check_order(uri: str, first: int, last: int) -> None:
    if first > last:
        raise SourceError(uri, f"the table is at version {last}: there is no version {first} yet")


def _check_plain(uri: str, table: DeltaTable) -> None:
    """Check that reading the files alone gives the table's rows."""
    features = set(table.protocol().reader_features or ()) - _READ_AS_PLAIN
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        features.add("columnMapping")
    if features:
        raise SourceError(
            uri,
            f"the Delta table uses {', '.join(sorted(features))}, which is not read here: "
            "write it as a table without, or as Parquet",
        )


def _actions(uri: str, table: DeltaTable) -> dict[str, DeltaFile]:
    actions = pa.table(table.get_add_actions(flatten=True))
    columns = [name for name in actions.column_names if name.startswith(_PARTITION)]
    rows = actions.select(["path", *columns]).to_pylist()
    # The log escapes paths as URIs; in the folder they are one escape shorter.
    found = {row["path"]: f"{uri.rstrip('/')}/{unquote(row['path'])}" for row in rows}
    return {
        row["path"]: DeltaFile(
            found[row["path"]], tuple((name.removeprefix(_PARTITION), row[name]) for name in columns)
        )
        for row in rows
    }


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]
