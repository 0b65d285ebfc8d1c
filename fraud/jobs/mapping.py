"""Mappings tried on files: a draft from a sample, and a check that writes nothing."""

from __future__ import annotations

import io
from collections import Counter
from datetime import datetime
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fraud.errors import SourceError
from fraud.jobs.mapped import check_sources, read_mapped
from fraud.jobs.source import SourceName, opened
from fraud.jobs.source_files import find_files
from fraud.jobs.source_rows import file_format, stream
from fraud.mapping.draft import draft, guess_decimal, guess_separator
from fraud.mapping.spec import FileFormat, Mapping
from fraud.money import rates
from fraud.settings import MoneySettings

_SAMPLE_ROWS: Final = 5_000
_EXAMPLES: Final = 5


def init(source_path: str) -> str:
    """Return a commented draft of a mapping, from the first rows of the first file.

    Raises:
        SourceError: There is no such file, or it has no rows.
    """
    file = find_files(source_path)[0]
    path = file.path
    separator = guess_separator(_lines(path)) if file_format(path) == "csv" else ","
    _, rows = file.head(FileFormat(separator=separator), _SAMPLE_ROWS)
    if rows is None or not rows.num_rows:
        raise SourceError(path, "the file has no rows")
    decimal, thousands = guess_decimal(rows, separator)
    return draft(rows, FileFormat(separator=separator, decimal=decimal, thousands=thousands))


def check(source: SourceName, mapping: Mapping, money: MoneySettings, now: datetime) -> dict[str, Any]:
    """Apply a mapping to every row of a source as an ingest at ``now`` (UTC) would, and write nothing.

    Returns:
        ``files``, ``rows``, ``accepted``, ``refused``, ``refused_by_reason``, up to five
        ``accepted_examples``, and per reason up to five ``refused_examples`` (file, row, detail, raw).

    Raises:
        SourceError: There is no such file, or it is empty or unreadable.
        SchemaError: A file lacks a column.
    """
    table = rates(money)
    reasons: Counter[str] = Counter()
    refused: dict[str, list[dict[str, Any]]] = {}
    accepted: list[dict[str, Any]] = []
    rows = 0
    with opened(source, mapping) as sources:
        check_sources(sources, mapping, table, now, source.path)
        for piece in (piece for each in sources for piece in each.slices()):
            for batch in read_mapped(piece, mapping, table, now):
                rows += batch.rows
                for found in batch.found:
                    taken = found.labels if mapping.kind == "labels" else found.transactions
                    accepted += taken.slice(0, _EXAMPLES - len(accepted)).to_pylist()
                    reasons.update(found.refused.column("reason").to_pylist())
                    _remember(refused, found.refused, piece.path)
    return {
        "files": len(sources),
        "rows": rows,
        "accepted": rows - sum(reasons.values()),
        "refused": sum(reasons.values()),
        "refused_by_reason": dict(reasons),
        "accepted_examples": [{name: _shown(value) for name, value in row.items()} for row in accepted],
        "refused_examples": refused,
    }


def _remember(examples: dict[str, list[dict[str, Any]]], refused: pa.Table, path: str) -> None:
    """Keep the first rows refused for each reason."""
    for reason in pc.unique(refused.column("reason")).to_pylist():
        kept = examples.setdefault(reason, [])
        some = refused.filter(pc.field("reason") == reason).slice(0, _EXAMPLES - len(kept))
        kept += [{"file": path, **row} for row in some.drop_columns(["reason"]).to_pylist()]


def _lines(path: str) -> list[str]:
    with stream(path) as raw, io.BufferedReader(raw) as lines:
        return [line.decode(errors="replace") for line in islice(lines, 200)]


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
