"""From batches of examples to the binned matrix XGBoost trains on, one batch in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

BATCH_ROWS: Final = 65_536
"""Rows of a batch: 4 MB of float32 for 15 features, enough to hide the cost of a call."""

PAGE_ROWS: Final = 1_048_576
"""Rows of a batch that becomes a page on disk, which is read again in every round."""

Batches = Callable[[], Iterable[tuple[NDArray[np.float32], ...]]]
"""Opens one pass over the same rows in the same order: features ``(n, f)``, NaN where missing, and labels."""


class _Passes(xgb.DataIter):  # type: ignore[misc]
    """Batches of examples as XGBoost asks for them: it passes over the data several times."""

    def __init__(self, batches: Batches, names: Sequence[str], cache: Path | None = None) -> None:
        super().__init__(cache_prefix=None if cache is None else str(cache / "page"), on_host=False)
        self._open = batches
        self._names = list(names)
        self._rest: Iterator[tuple[NDArray[np.float32], ...]] = iter(())

    def next(self, input_data: Callable[..., Any]) -> bool:
        """Hand over the next batch; False at the end."""
        for features, labels in self._rest:
            input_data(data=features, label=labels, feature_names=self._names)
            return True
        return False

    def reset(self) -> None:
        """Begin the next pass."""
        self._rest = iter(self._open())


def quantile_matrix(
    batches: Batches, names: Sequence[str], *, max_bin: int, threads: int
) -> xgb.QuantileDMatrix:
    """Return the binned matrix of examples, without ever holding their values all at once.

    Inside a collective the bins are those of all workers' rows.

    Args:
        batches: See ``Batches``; no batch is empty.
        names: The features.
        max_bin: Bins a feature.
        threads: Threads that bin.
    """
    return xgb.QuantileDMatrix(_Passes(batches, names), max_bin=max_bin, nthread=threads)


def external_matrix(
    batches: Batches, names: Sequence[str], *, max_bin: int, threads: int, cache: Path
) -> xgb.ExtMemQuantileDMatrix:
    """Return the same matrix with its bins on disk, a page per batch: memory holds some pages at a time.

    Args:
        batches: As above; ``PAGE_ROWS`` a batch.
        names: The features.
        max_bin: Bins a feature.
        threads: Threads that bin.
        cache: An empty folder on a local disk, which must outlive the matrix.
    """
    return xgb.ExtMemQuantileDMatrix(_Passes(batches, names, cache), max_bin=max_bin, nthread=threads)
