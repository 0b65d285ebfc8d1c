"""Scored transactions of some days, as policies and figures look at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class PerDay(NamedTuple):
    """How many a day."""

    mean: float
    p95: float


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """Columns of n rows each; whose truth is not known counts as traffic, and nothing is measured on it.

    Attributes:
        day: Days since 1970-01-01, shape ``(n,)``.
        card: Card ids, strings with nulls, length n.
        amount: In minor units of the base currency, shape ``(n,)``.
        score: The model's output, shape ``(n,)``.
        probability: Calibrated, shape ``(n,)``.
        is_fraud: False where the truth is not known, shape ``(n,)``.
        is_known: Whether the truth is, shape ``(n,)``.
        fraud_type: As labelled, strings with nulls, length n.
    """

    day: NDArray[np.int32]
    card: pa.Array
    amount: NDArray[np.int64]
    score: NDArray[np.float64]
    probability: NDArray[np.float64]
    is_fraud: NDArray[np.bool_]
    is_known: NDArray[np.bool_]
    fraud_type: pa.Array

    def known(self) -> Traffic:
        """Return the rows whose truth is known."""
        kept = pa.array(self.is_known)
        columns = {
            name: column.filter(kept) if isinstance(column, pa.Array) else column[self.is_known]
            for name, column in ((name, getattr(self, name)) for name in Traffic.__slots__)
        }
        return Traffic(**columns)

    def per_day(self, chosen: NDArray[np.bool_]) -> PerDay:
        """Return how many rows were chosen a day, over every calendar day from the first to the last."""
        if not len(self.day):
            return PerDay(0.0, 0.0)
        first, last = int(self.day.min()), int(self.day.max())
        counts = np.bincount(self.day[chosen] - first, minlength=last - first + 1)
        return PerDay(float(counts.mean()), float(np.percentile(counts, 95)))
