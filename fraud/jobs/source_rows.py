"""The rows of a source in batches, with their numbers in it: Parquet typed, other files as text."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

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


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a source.

    Attributes:
        table: Under the source's own column names.
        rows: Their numbers in the source, from 0, shape ``(n,)``.
        malformed: Rows that could not be cut into fields: number and text.
        sparse: Rows may leave columns out: one that no row of the batch has is not there at all.
    """

    table: pa.Table
    rows: NDArray[np.int64]
    malformed: tuple[tuple[int, str], ...] = ()
    sparse: bool = False


class Slice(Protocol):
    """A part of a source for one task."""

    @property
    def path(self) -> str:
        """What the source is called in tables and errors."""

    @property
    def first_row(self) -> int:
        """Number of its first row in the source."""

    def batches(self, file: FileFormat, rows: int) -> Iterator[Batch]:
        """Read it in batches of about so many rows."""


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Some row groups of a Parquet file, or a whole file.

    Attributes:
        path: Absolute.
        row_groups: None for the whole file.
        first_row: Number of its first row in the file.
        constants: Columns that the file itself lacks, with their one value.
    """

    path: str
    row_groups: tuple[int, ...] | None = None
    first_row: int = 0
    constants: tuple[tuple[str, Any], ...] = ()

    def batches(self, file: FileFormat, rows: int) -> Iterator[Batch]:
        """Read it in batches of about so many rows."""
        readers = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}
        yield from readers[file_format(self.path) or "csv"](self, file, rows)


def file_format(path: str) -> str | None:
    """Return ``parquet``, ``csv`` or ``jsonl`` by the file's name, None where it is none of them."""
    return next((kind for suffix, kind in SUFFIXES.items() if path.lower().endswith(suffix)), None)


def read(piece: Slice, file: FileFormat, rows: int = BATCH_ROWS) -> Iterator[Batch]:
    """Read a slice in batches of about so many rows.

    Raises:
        SourceError: The source cannot be read.
    """
    try:
        yield from piece.batches(file, rows)
    except (pa.ArrowException, OSError, EOFError, UnicodeError) as error:
        raise SourceError(piece.path, f"cannot be read: {_reason(error, file)}") from error


def rows_at(pieces: Sequence[Slice], rows: NDArray[np.int64], file: FileFormat) -> Batch:
    """Read single rows of a source again, in its order.

    Args:
        pieces: All slices of the source, in its order.
        rows: Their numbers, ascending.
        file: How text is written.
    """
    found = []
    ends = [*(piece.first_row for piece in pieces[1:]), int(rows[-1]) + 1]
    for piece, end in zip(pieces, ends, strict=True):
        if ((rows >= piece.first_row) & (rows < end)).any():
            for batch in read(piece, file):
                wanted = np.isin(batch.rows, rows)
                found.append((batch.table.filter(pa.array(wanted)), batch.rows[wanted]))
    tables = pa.concat_tables([table for table, _ in found], promote_options="default")
    return Batch(tables, np.concatenate([numbers for _, numbers in found]))


def _reason(error: Exception, file: FileFormat) -> str:
    said = " ".join(str(error).split())[:200]
    if "UTF8" in said or isinstance(error, UnicodeError):
        return f"its text is not {file.encoding}: set format.encoding in the mapping (such as latin-1)"
    return said


def _parquet(piece: FileSlice, _: FileFormat, rows: int) -> Iterator[Batch]:
    files, place = located(piece.path)
    file = pq.ParquetFile(place, filesystem=files)
    groups = list(piece.row_groups) if piece.row_groups is not None else None
    start = piece.first_row
    for batch in file.iter_batches(rows, row_groups=groups):
        table = pa.Table.from_batches([batch])
        for name, value in piece.constants:
            table = table.append_column(name, _constant(value, table.num_rows))
        yield Batch(table, np.arange(start, start + batch.num_rows))
        start += batch.num_rows


def _constant(value: Any, n: int) -> pa.Array:
    return pa.nulls(n, pa.string()) if value is None else pa.repeat(pa.scalar(value), n)


def _csv(piece: FileSlice, file: FileFormat, rows: int) -> Iterator[Batch]:
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
    with stream(piece.path) as opened:
        reader = pacsv.open_csv(opened, read_options=options, parse_options=parse, convert_options=convert)
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
    with stream(path) as opened, io.TextIOWrapper(opened, encoding=encoding, newline="") as lines:
        rows = csv.reader(lines, delimiter=file.separator, quotechar=file.quote)
        names = next(rows, [])
        return names, any(rows)


def stream(path: str) -> Any:
    """A stream of a file's bytes, unpacked where its name ends in .gz."""
    files, place = located(path)
    return files.open_input_stream(place, compression="gzip" if place.lower().endswith(".gz") else None)


def _numbers_around(start: int, n: int, broken: Sequence[int]) -> NDArray[np.int64]:
    """Number n rows from ``start`` on, leaving out the numbers of malformed rows among them."""
    numbers = np.arange(start, start + n + len(broken))
    return numbers[~np.isin(numbers, broken)][:n]


def _jsonl(piece: FileSlice, _: FileFormat, rows: int) -> Iterator[Batch]:
    start = 0
    with stream(piece.path) as opened, io.BufferedReader(opened, _BLOCK_BYTES) as buffered:
        lines = (line for line in buffered if line.strip())
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
    return Batch(pa.table(columns), np.array(numbers, np.int64), tuple(broken), sparse=True)


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
