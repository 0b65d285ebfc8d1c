"""Rows of a table that are numbered from 1 without a gap, whoever writes them from whichever host."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

from fraud.errors import ChangedMeanwhileError
from fraud.storage.lake import Lake

_ATTEMPTS: Final = 50
"""Of a row, against others who write one at the same moment."""

Row = dict[str, Any]


def add(lake: Lake, name: str, schema: pa.Schema, *, app: str, make: Callable[[], tuple[int, Row]]) -> Row:
    """Append the row that ``make`` gives, and return it; Delta lets one writer have a number.

    Args:
        lake: Where the table is.
        name: The table.
        schema: Its columns.
        app: Application id: who counts together.
        make: Reads what is there, and returns the next number and the row; asked again where another writer
            comes first. What it raises ends the attempts.

    Raises:
        ChangedMeanwhileError: Others came first time and again.
    """
    for attempt in range(_ATTEMPTS):
        number, row = make()
        try:
            lake.append_next(name, pa.Table.from_pylist([row], schema=schema), app=app, number=number)
        except ChangedMeanwhileError:
            time.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311  # so that writers part
            continue
        return row
    raise ChangedMeanwhileError(name)
