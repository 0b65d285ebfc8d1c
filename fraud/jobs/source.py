"""Source files: found, told apart, checked against a mapping, cut into slices for tasks."""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileType

from fraud.errors import SchemaError, SourceError
from fraud.jobs.source_rows import BATCH_ROWS, SUFFIXES, Slice, file_format
from fraud.mapping.spec import Mapping
from fraud.mapping.yaml_file import close_match
from fraud.storage.files import S3, is_remote, located

_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the source: absolute path, checksum, bytes, and when it was last written to."""

    path: str
    sha256: str
    size: int
    modified_ns: int


def find(source: str) -> list[str]:
    """Return the files of a path, folder or pattern, sorted; absolute. A store has no patterns.

    Raises:
        SourceError: There is none, or one is of no format that is read here.
    """
    files = _in_store(source) if is_remote(source) else _here(source)
    if not files:
        raise SourceError(source, f"no file here ends in {', '.join(SUFFIXES)}")
    for file in files:
        if file_format(file) is None:
            raise SourceError(file, f"cannot be read: the name must end in {', '.join(SUFFIXES)}")
    return files


def _in_store(source: str) -> list[str]:
    store, path = located(source)
    try:
        found = [store.get_file_info(path)]
        if found[0].type != FileType.File:
            inside = store.get_file_info(FileSelector(path, recursive=True))
            found = [info for info in inside if info.type == FileType.File and file_format(info.path)]
    except FileNotFoundError as error:
        raise SourceError(source, "no such file or folder") from error
    except OSError as error:
        raise SourceError(source, f"cannot be listed: {' '.join(str(error).split())}") from error
    return sorted(S3 + info.path for info in found)


def _here(source: str) -> list[str]:
    path = Path(source)
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and file_format(str(file))]
    elif path.is_file():
        files = [path]
    elif glob.has_magic(source):
        named = glob.glob(source, recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
        files = [Path(file) for file in sorted(named) if Path(file).is_file()]
    else:
        raise SourceError(source, "no such file or folder")
    return [str(file.resolve()) for file in files]


def describe(path: str) -> SourceFile:
    """Return a file with its checksum.

    Raises:
        SourceError: It cannot be opened.
    """
    files, place = located(path)
    try:
        info = files.get_file_info(place)
        with files.open_input_stream(place, buffer_size=_CHUNK_BYTES) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(path, f"cannot be read: {error.strerror or error}") from error
    return SourceFile(path, digest, info.size, info.mtime_ns)


def check_unchanged(files: Iterable[SourceFile]) -> None:
    """Check that files are what they were when they were described.

    Raises:
        SourceError: One was written to since, or is gone.
    """
    for file in files:
        where, place = located(file.path)
        info = where.get_file_info(place)
        if info.type == FileType.NotFound:
            raise SourceError(file.path, "was there, but no longer is: nothing was ingested")
        if (info.size, info.mtime_ns) != (file.size, file.modified_ns):
            raise SourceError(
                file.path,
                "was written to while it was read; nothing was ingested: run it again once it rests",
            )


def has_rows(path: str, present: list[str], rows: pa.Table, mapping: Mapping) -> bool:
    """Check that the head of a file has what the mapping reads; return whether there are rows at all.

    Raises:
        SchemaError: Naming every missing column, and what comes close.
    """
    if file_format(path) == "jsonl" and rows.num_rows == 0:
        return False
    # A line of JSON may leave a key out: only after the whole file is a rarer column known to be missing.
    needed = required_columns(mapping) if file_format(path) == "jsonl" else read_columns(mapping)
    problems = missing_columns(needed, present, mapping)
    twice = [name for name, count in Counter(present).items() if count > 1 and name in needed]
    problems += [f"column {name!r} stands there twice" for name in twice]
    if problems:
        raise SchemaError(path, problems)
    return bool(rows.num_rows)


def read_columns(mapping: Mapping) -> tuple[str, ...]:
    """Return the columns a source must have."""
    optional = mapping.optional_columns()
    return tuple(column for column in mapping.source_columns() if column not in optional)


def required_columns(mapping: Mapping) -> tuple[str, ...]:
    """Return the columns without which no row can be a transaction (or label)."""
    core = mapping.columns
    return tuple(name for name in (core.transaction_id, core.event_time, core.amount) if name is not None)


def missing_columns(needed: tuple[str, ...], present: list[str], mapping: Mapping) -> list[str]:
    """Say of every needed column that is not present what is wrong."""
    problems = [
        f"column {column!r}, which the mapping {mapping.name} reads, is missing{close_match(column, present)}"
        for column in needed
        if column not in present
    ]
    if problems and len(present) == 1 and len(needed) > 1:
        problems.append(f"its only column is {present[0][:60]!r}: is format.separator right?")
    elif problems:
        problems.append(f"its columns: {', '.join(present[:40])}")
    return problems


def slices(path: str) -> list[Slice]:
    """Cut a file into parts of about ``BATCH_ROWS`` rows where its format allows it."""
    if file_format(path) != "parquet":
        return [Slice(path, None, 0)]
    files, place = located(path)
    groups = pq.ParquetFile(place, filesystem=files).metadata
    found: list[Slice] = []
    first, rows, held = 0, 0, []
    for number in range(groups.num_row_groups):
        held.append(number)
        rows += groups.row_group(number).num_rows
        if rows >= BATCH_ROWS or number == groups.num_row_groups - 1:
            found.append(Slice(path, tuple(held), first))
            first, rows, held = first + rows, 0, []
    return found
