"""The rows of source files in batches, with their numbers in the file: Parquet typed, all else as text."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fraud.errors import SourceError
from fraud.mapping.spec import FileFormat
from fraud.storage.files import located

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

_BLOCK_BYTES: Final = 16 << 20
_LONG_ROW_BYTES: Final = 1 << 8
_HEAD_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a file for one task: some row groups of a Parquet file, or a whole text file.

    Attributes:
        path: Absolute.
        row_groups: None for a text file, or a whole one.
        first_row: Number of its first row in the file.
    """

    path: str
    row_groups: tuple[int, ...] | None
    first_row: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file.

    Attributes:
        table: Under the file's own column names.
        rows: Their numbers in the file, from 0, shape ``(n,)``.
        malformed: Rows that could not be cut into fields: number and text.
    """

    table: pa.Table
    rows: NDArray[np.int64]
    malformed: tuple[tuple[int, str], ...] = ()


def file_format(path: str) -> str | None:
    """Return ``parquet``, ``csv`` or ``jsonl`` by the file's name, None where it is none of them."""
    return next((kind for suffix, kind in SUFFIXES.items() if path.lower().endswith(suffix)), None)


def read(piece: Slice, file: FileFormat, rows: int = BATCH_ROWS) -> Iterator[Batch]:
    """Read a slice in batches of about so many rows.

    Raises:
        SourceError: The file cannot be read.
    """
    readers = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}
    try:
        yield from readers[file_format(piece.path) or "csv"](piece, file, rows)
    except (pa.ArrowException, OSError, EOFError, UnicodeError) as error:
        raise SourceError(piece.path, f"cannot be read: {_reason(error, file)}") from error


def head(path: str, file: FileFormat, n: int = _HEAD_ROWS) -> tuple[list[str], pa.Table | None]:
    """Return a file's column names and its first rows; no rows at all where the file is empty.

    Raises:
        SourceError: The file cannot be read.
    """
    files, place = located(path)
    if not files.get_file_info(place).size:
        return [], None
    batch = next(read(Slice(path, None, 0), file, n), None)
    if batch is None:
        names = pq.read_schema(place, filesystem=files).names if file_format(path) == "parquet" else []
        return names, pa.table({name: pa.array([], pa.string()) for name in dict.fromkeys(names)})
    return batch.table.column_names, batch.table.slice(0, n)


def rows_at(path: str, rows: NDArray[np.int64], file: FileFormat) -> Batch:
    """Read single rows of a file again, in the order of the file."""
    found = []
    for batch in read(Slice(path, None, 0), file):
        wanted = np.isin(batch.rows, rows)
        if wanted.any():
            found.append((batch.table.filter(pa.array(wanted)), batch.rows[wanted]))
    tables = pa.concat_tables([table for table, _ in found], promote_options="default")
    return Batch(tables, np.concatenate([numbers for _, numbers in found]))


def _reason(error: Exception, file: FileFormat) -> str:
    said = " ".join(str(error).split())[:200]
    if "UTF8" in said or isinstance(error, UnicodeError):
        return f"its text is not {file.encoding}: set format.encoding in the mapping (such as latin-1)"
    return said


def _parquet(piece: Slice, _: FileFormat, rows: int) -> Iterator[Batch]:
    files, place = located(piece.path)
    file = pq.ParquetFile(place, filesystem=files)
    groups = list(piece.row_groups) if piece.row_groups is not None else None
    start = piece.first_row
    for batch in file.iter_batches(rows, row_groups=groups):
        yield Batch(pa.Table.from_batches([batch]), np.arange(start, start + batch.num_rows))
        start += batch.num_rows


def _csv(piece: Slice, file: FileFormat, rows: int) -> Iterator[Batch]:
    broken: list[tuple[int, str]] = []

    def keep(row: Any) -> str:
        broken.append((row.number - 2, row.text or ""))  # counted from 1, the header included
        return "skip"

    parse = pacsv.ParseOptions(
        delimiter=file.separator, quote_char=file.quote, newlines_in_values=True, invalid_row_handler=keep
    )
    # Only a reader of one thread knows the numbers of malformed rows.
    block = min(_BLOCK_BYTES, rows * _LONG_ROW_BYTES)
    options = pacsv.ReadOptions(encoding=file.encoding, block_size=block, use_threads=False)
    names, filled = _csv_header(piece.path, file)
    if not filled:
        if names:
            yield Batch(pa.table({name: pa.array([], pa.string()) for name in names}), np.empty(0, np.int64))
        return
    convert = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    with _opened(piece.path) as stream:
        reader = pacsv.open_csv(stream, read_options=options, parse_options=parse, convert_options=convert)
        start = 0
        for batch in itertools.chain(reader, [None]):
            table = reader.schema.empty_table() if batch is None else pa.Table.from_batches([batch])
            numbers = _numbers_around(start, table.num_rows, [number for number, _ in broken])
            # The reader works ahead: malformed rows beyond this batch belong to a later one.
            stop = int(numbers[-1]) + 1 if len(numbers) else start
            own = tuple(each for each in broken if batch is None or each[0] < stop)
            del broken[: len(own)]
            yield Batch(table, numbers, own)
            start = stop


def _csv_header(path: str, file: FileFormat) -> tuple[list[str], bool]:
    """The column names, and whether any row follows them."""
    encoding = "utf-8-sig" if file.encoding == "utf-8" else file.encoding
    with _opened(path) as stream, io.TextIOWrapper(stream, encoding=encoding, newline="") as lines:
        rows = csv.reader(lines, delimiter=file.separator, quotechar=file.quote)
        names = next(rows, [])
        return names, any(rows)


def _opened(path: str) -> Any:
    """A stream of a file's bytes, unpacked where its name ends in .gz."""
    files, place = located(path)
    return files.open_input_stream(place, compression="gzip" if place.lower().endswith(".gz") else None)


def _numbers_around(start: int, n: int, broken: Sequence[int]) -> NDArray[np.int64]:
    """Number n rows from ``start`` on, leaving out the numbers of malformed rows among them."""
    numbers = np.arange(start, start + n + len(broken))
    return numbers[~np.isin(numbers, broken)][:n]


def _jsonl(piece: Slice, _: FileFormat, rows: int) -> Iterator[Batch]:
    start = 0
    with _opened(piece.path) as opened, io.BufferedReader(opened, _BLOCK_BYTES) as stream:
        lines = (line for line in stream if line.strip())
        while some := list(itertools.islice(lines, rows)):
            yield _json_batch(some, start)
            start += len(some)


def _json_batch(lines: Sequence[bytes], start: int) -> Batch:
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    broken: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
            numbers.append(number)
        else:
            broken.append((number, line.decode(errors="replace").strip()))
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: pa.array([_json_text(row.get(name)) for row in rows], pa.string()) for name in names}
    return Batch(pa.table(columns), np.array(numbers, np.int64), tuple(broken))


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
