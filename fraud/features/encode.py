"""The one way from feature columns to the matrix a booster reads: float64 to float32, missing as NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def encode(columns: Mapping[str, NDArray[np.floating[Any]]], names: Sequence[str]) -> NDArray[np.float32]:
    """Return the matrix of the named columns.

    Args:
        columns: One array of shape ``(n,)`` a feature.
        names: Features in the model's order.

    Returns:
        C-contiguous, shape ``(n, len(names))``.
    """
    n = len(columns[names[0]])
    matrix = np.empty((n, len(names)), np.float32)
    for position, name in enumerate(names):
        matrix[:, position] = columns[name]
    return matrix


def matrix(table: pa.Table, names: Sequence[str]) -> NDArray[np.float32]:
    """Return the matrix of a table's feature columns; null and NaN are missing."""
    return encode({name: _floats(table.column(name)) for name in names}, names)


def _floats(column: pa.ChunkedArray) -> NDArray[np.floating[Any]]:
    values = column.to_numpy()
    return values if values.dtype == np.float32 else np.asarray(values, np.float64)
