"""Ids and other texts of Arrow tables as the 64-bit numbers that windows work with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fraud.features.facts import NO_TEXT, Bools, Ints, pair_number
from fraud.xxh3 import hashes


def text_numbers(column: pa.ChunkedArray) -> Ints:
    """Return the number of every text, ``NO_TEXT`` where it is missing; shape ``(n,)``.

    Of a column that was read as dictionaries every text is hashed once.
    """
    if not pa.types.is_dictionary(column.type):
        return hashes(column, null=NO_TEXT)
    return np.concatenate([np.empty(0, np.int64), *map(_encoded_numbers, column.chunks)])


def _encoded_numbers(column: pa.DictionaryArray) -> Ints:
    numbers = np.append(hashes(column.dictionary, null=NO_TEXT), NO_TEXT)
    places = np.asarray(column.indices.fill_null(len(numbers) - 1))
    found: Ints = numbers[places]
    return found


def entity_numbers(table: pa.Table, columns: Sequence[str]) -> tuple[Ints, Bools]:
    """Return the number of each row's entity, and which rows have one; each of shape ``(n,)``.

    Args:
        table: Has the id columns.
        columns: One id column, or two.
    """
    numbers = [text_numbers(table.column(column)) for column in columns]
    present = np.logical_and.reduce([number != NO_TEXT for number in numbers])
    return numbers[0] if len(numbers) == 1 else np.asarray(pair_number(*numbers), np.int64), present


def integers(table: pa.Table, column: str) -> Ints:
    """Return a column as 64-bit integers: times as microseconds, shape ``(n,)``."""
    return np.asarray(table.column(column).cast(pa.int64()).to_numpy(), np.int64)
