"""Source files: found, told apart, cut into slices, read as tables in batches."""

from __future__ import annotations

import glob
import gzip
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from fraud.errors import SchemaError, SourceError
from fraud.mapping.spec import FileFormat, Mapping
from fraud.mapping.yaml_file import close_match

SUFFIXES: Final = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".txt": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
}

BATCH_ROWS: Final = 200_000
"""Rows read at a time: columns of text stay in the tens of megabytes."""

MALFORMED: Final = "__malformed__"
"""The column of a text file's rows that could not be cut into fields: the raw row, null for all others."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a file for one task: some row groups of a Parquet file, or a whole text file.

    Attributes:
        path: Absolute.
        row_groups: None for a text file.
        first_row: Number of its first row in the file.
    """

    path: str
    row_groups: tuple[int, ...] | None
    first_row: int


def find(source: str) -> list[str]:
    """Return the files of a path, folder or pattern, sorted; absolute.

    Raises:
        SourceError: There is none, or one is of no format that is read here.
    """
    path = Path(source)
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and file_format(str(file))]
    elif path.is_file():
        files = [path]
    elif glob.has_magic(source):
        # Path.glob takes no absolute pattern.
        found = sorted(glob.glob(source, recursive=True))  # noqa: PTH207
        files = [Path(file) for file in found if Path(file).is_file()]
    else:
        raise SourceError(source, "no such file or folder")
    if not files:
        raise SourceError(source, f"no file here ends in {', '.join(SUFFIXES)}")
    for file in files:
        if file_format(str(file)) is None:
            raise SourceError(str(file), f"cannot be read: the name must end in {', '.join(SUFFIXES)}")
    return [str(file.resolve()) for file in files]


def file_format(path: str) -> str | None:
    """Return ``parquet``, ``csv`` or ``jsonl`` by the file's name, None where it is none of them."""
    return next((kind for suffix, kind in SUFFIXES.items() if path.lower().endswith(suffix)), None)


def sha256(path: str) -> str:
    """Return the checksum of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(path: str) -> int:
    """Return a file's bytes."""
    return Path(path).stat().st_size


def check_columns(path: str, mapping: Mapping) -> None:
    """Check before any work that a file has what the mapping reads.

    Raises:
        SchemaError: Naming every missing column, and what comes close.
        SourceError: The file cannot be read, or has no rows.
    """
    batch = next(read(Slice(path, None, 0), mapping.format), None)
    if batch is None or batch.num_rows == 0:
        raise SourceError(path, "the file has no rows")
    present = [column for column in batch.column_names if column != MALFORMED]
    missing = [
        column
        for column in mapping.source_columns()
        if column not in present and column not in mapping.optional_columns()
    ]
    if missing:
        raise SchemaError(
            path,
            [
                f"the mapping {mapping.name} reads column {column!r}, which is missing"
                + close_match(column, present)
                for column in missing
            ],
        )


def slices(path: str) -> list[Slice]:
    """Cut a file into parts of about ``BATCH_ROWS`` rows where its format allows it."""
    if file_format(path) != "parquet":
        return [Slice(path, None, 0)]
    groups = pq.ParquetFile(path).metadata
    found: list[Slice] = []
    first, held = 0, []
    for number in range(groups.num_row_groups):
        held.append(number)
        rows = sum(groups.row_group(group).num_rows for group in held)
        if rows >= BATCH_ROWS or number == groups.num_row_groups - 1:
            found.append(Slice(path, tuple(held), first))
            first, held = first + rows, []
    return found


def read(piece: Slice, file: FileFormat) -> Iterator[pa.Table]:
    """Read a slice in batches under the file's own column names: Parquet typed, all else as text.

    Raises:
        SourceError: The file cannot be read.
    """
    readers = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}
    try:
        yield from readers[file_format(piece.path) or "csv"](piece, file)
    except (pa.ArrowInvalid, pa.ArrowException, OSError, EOFError, UnicodeError) as error:
        raise SourceError(piece.path, f"cannot be read: {' '.join(str(error).split())[:300]}") from error


def _parquet(piece: Slice, _: FileFormat) -> Iterator[pa.Table]:
    file = pq.ParquetFile(piece.path)
    for batch in file.iter_batches(
        BATCH_ROWS, row_groups=list(piece.row_groups) if piece.row_groups else None
    ):
        yield pa.Table.from_batches([batch])


def _csv(piece: Slice, file: FileFormat) -> Iterator[pa.Table]:
    broken: list[tuple[int | None, str]] = []

    def keep(row: Any) -> str:
        broken.append((row.number, row.text or ""))
        return "skip"

    parse = pacsv.ParseOptions(
        delimiter=file.separator, quote_char=file.quote, newlines_in_values=True, invalid_row_handler=keep
    )
    options = pacsv.ReadOptions(encoding=file.encoding, block_size=16 << 20)
    with pa.input_stream(piece.path) as stream:
        names = pacsv.open_csv(stream, read_options=options, parse_options=parse).schema.names
    broken.clear()
    convert = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    with pa.input_stream(piece.path) as stream:
        reader = pacsv.open_csv(stream, read_options=options, parse_options=parse, convert_options=convert)
        for batch in reader:
            yield _with_malformed(pa.Table.from_batches([batch]), [])
        if broken:
            yield _with_malformed(reader.schema.empty_table(), [text for _, text in broken])


def _jsonl(piece: Slice, _: FileFormat) -> Iterator[pa.Table]:
    opened = gzip.open if piece.path.lower().endswith(".gz") else open
    with opened(piece.path, "rb") as stream:
        lines: list[bytes] = []
        for line in stream:
            if line.strip():
                lines.append(line)
            if len(lines) == BATCH_ROWS:
                yield _json_table(lines)
                lines = []
        if lines:
            yield _json_table(lines)


def _json_table(lines: Sequence[bytes]) -> pa.Table:
    rows: list[dict[str, Any]] = []
    broken: list[str] = []
    for line in lines:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            broken.append(line.decode(errors="replace").strip())
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: pa.array([_json_text(row.get(name)) for row in rows], pa.string()) for name in names}
    return _with_malformed(pa.table(columns), broken)


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _with_malformed(table: pa.Table, broken: Sequence[str]) -> pa.Table:
    """Add the rows that could not be cut into fields at the end."""
    whole = table.append_column(MALFORMED, pa.nulls(table.num_rows, pa.string()))
    if not broken:
        return whole
    empty = {
        name: pa.nulls(len(broken), kind)
        for name, kind in zip(table.column_names, table.schema.types, strict=True)
    }
    return pa.concat_tables([whole, pa.table(empty | {MALFORMED: pa.array(broken, pa.string())})])
