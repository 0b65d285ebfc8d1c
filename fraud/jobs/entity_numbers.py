"""Ids and other texts of Arrow tables as the 64-bit numbers that windows work with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud import schema
from fraud.features.facts import NO_TEXT, Bools, Ints, pair_number


def text_numbers(column: pa.ChunkedArray) -> Ints:
    """Return the number of every text, ``NO_TEXT`` where it is missing; shape ``(n,)``.

    A column that was read as dictionaries is cheap: every text is hashed once.
    """
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    encoded = pa.table({"text": column}).unify_dictionaries().column(0).combine_chunks()
    if encoded.num_chunks == 0 if isinstance(encoded, pa.ChunkedArray) else len(encoded) == 0:
        return np.empty(0, np.int64)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    numbers = np.append(schema.ties(encoded.dictionary.to_pylist()), NO_TEXT)
    places: Ints = np.asarray(encoded.indices.fill_null(len(numbers) - 1))
    return numbers[places]


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
