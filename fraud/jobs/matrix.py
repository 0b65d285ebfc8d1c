"""From batches of examples to the binned matrix XGBoost trains on, one batch in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import xgboost as xgb

from fraud.features.encode import matrix
from fraud.jobs.shards import LABEL

BATCH_ROWS: Final = 65_536
"""Rows of a batch: 4 MB of float32 for 15 features, enough to hide the cost of a call."""


class _Batches(xgb.DataIter):  # type: ignore[misc]
    """Batches of examples as XGBoost asks for them: it passes over the data several times."""

    def __init__(self, batches: Callable[[], Iterable[pa.Table]], names: Sequence[str]) -> None:
        super().__init__()
        self._open = batches
        self._names = list(names)
        self._rest: Iterator[pa.Table] = iter(())

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Hand over the next batch that has rows; False at the end."""
        for batch in self._rest:
            if batch.num_rows > 0:
                input_data(
                    data=matrix(batch, self._names),
                    label=np.asarray(batch.column(LABEL), np.float32),
                    feature_names=self._names,
                )
                return True
        return False

    def reset(self) -> None:
        """Begin the next pass."""
        self._rest = iter(self._open())


def quantile_matrix(
    batches: Callable[[], Iterable[pa.Table]], names: Sequence[str], *, max_bin: int, threads: int
) -> xgb.QuantileDMatrix:
    """Return the binned matrix of examples, without ever holding them all.

    Inside a collective the bins are those of all workers' rows.

    Args:
        batches: Opens one pass over the same rows in the same order, each time it is called.
        names: Feature columns in model order; null and NaN are missing.
        max_bin: Bins a feature.
        threads: Threads that bin.
    """
    return xgb.QuantileDMatrix(_Batches(batches, names), max_bin=max_bin, nthread=threads)
