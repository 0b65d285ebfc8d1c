"""Source files: found in folders, stores and Delta tables, told apart, cut into slices for tasks."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileType

from fraud.errors import SourceError
from fraud.jobs.source_rows import BATCH_ROWS, SUFFIXES, FileSlice, file_format, read
from fraud.jobs.source_type import Described
from fraud.mapping.spec import FileFormat
from fraud.storage.delta_source import files_of, is_delta
from fraud.storage.files import S3, is_remote, located

_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file: its absolute path, and columns that it lacks itself, with their one value."""

    path: str
    constants: tuple[tuple[str, Any], ...] = ()

    @property
    def sparse(self) -> bool:
        """Whether a row may leave columns out."""
        return file_format(self.path) == "jsonl"

    def describe(self) -> Described:
        """Return what tells its content from any other.

        Raises:
            SourceError: It cannot be opened.
        """
        files, place = located(self.path)
        try:
            info = files.get_file_info(place)
            with files.open_input_stream(place, buffer_size=_CHUNK_BYTES) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise SourceError(self.path, f"cannot be read: {error.strerror or error}") from error
        return Described(self, digest, info.size, info.mtime_ns)

    def check_unchanged(self, before: Described) -> None:
        """Check that it is what it was.

        Raises:
            SourceError: It was written to since, or is gone.
        """
        where, place = located(self.path)
        info = where.get_file_info(place)
        if info.type == FileType.NotFound:
            raise SourceError(self.path, "was there, but no longer is: nothing was ingested")
        if (info.size, info.mtime_ns) != (before.size, before.modified_ns):
            raise SourceError(
                self.path,
                "was written to while it was read; nothing was ingested: run it again once it rests",
            )

    def head(self, file: FileFormat, n: int) -> tuple[list[str], pa.Table | None]:
        """Return its column names and first rows; no rows at all where it is empty.

        Raises:
            SourceError: It cannot be read.
        """
        files, place = located(self.path)
        if not files.get_file_info(place).size:
            return [], None
        batch = next(read(FileSlice(self.path, constants=self.constants), file, n), None)
        if batch is not None:
            return batch.table.column_names, batch.table.slice(0, n)
        names = pq.read_schema(place, filesystem=files).names if file_format(self.path) == "parquet" else []
        names += [name for name, _ in self.constants]
        return names, pa.table({name: pa.array([], pa.string()) for name in dict.fromkeys(names)})

    def slices(self) -> list[FileSlice]:
        """Cut it into parts of about ``BATCH_ROWS`` rows where its format allows it."""
        if file_format(self.path) != "parquet":
            return [FileSlice(self.path)]
        files, place = located(self.path)
        groups = pq.ParquetFile(place, filesystem=files).metadata
        found: list[FileSlice] = []
        first, rows, held = 0, 0, []
        for number in range(groups.num_row_groups):
            held.append(number)
            rows += groups.row_group(number).num_rows
            if rows >= BATCH_ROWS or number == groups.num_row_groups - 1:
                found.append(FileSlice(self.path, tuple(held), first, self.constants))
                first, rows, held = first + rows, 0, []
        return found


def find_files(source: str, versions: tuple[int | None, int | None] | None = None) -> list[SourceFile]:
    """Return the files of a path, folder, pattern or Delta table, by their paths. A store has no patterns.

    Args:
        source: Where they are.
        versions: Of a Delta table: the first and the last version whose new files are wanted.

    Raises:
        SourceError: There is none, or one is of no format that is read here.
    """
    if is_delta(source):
        place = source if is_remote(source) else str(Path(source).resolve())
        return [
            SourceFile(file.path, file.partition) for file in files_of(place, *(versions or (None, None)))
        ]
    if versions is not None:
        raise SourceError(source, "is no Delta table: only those have versions")
    files = _in_store(source) if is_remote(source) else _here(source)
    if not files:
        raise SourceError(source, f"no file here ends in {', '.join(SUFFIXES)}")
    for file in files:
        if file_format(file) is None:
            raise SourceError(file, f"cannot be read: the name must end in {', '.join(SUFFIXES)}")
    return [SourceFile(file) for file in files]


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
