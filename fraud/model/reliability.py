"""How far calibrated probabilities can be believed: predicted beside observed, in bins of equal counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fraud.errors import NotEnoughDataError
from fraud.model import calibration

Floats = NDArray[np.float64]

BINS: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Probabilities against what came true, in bins of rows in the order of their probability.

    Attributes:
        rows: Of each bin, shape ``(bins,)``.
        predicted: Mean probability of each bin.
        observed: Share of frauds in each bin.
        brier: Mean squared difference between probability and truth, over rows.
    """

    rows: NDArray[np.int64]
    predicted: Floats
    observed: Floats
    brier: float

    @property
    def expected_calibration_error(self) -> float:
        """The mean distance of predicted and observed over bins, weighted by their rows."""
        return float(np.average(np.abs(self.predicted - self.observed), weights=self.rows))


def reliability(probability: Floats, is_fraud: NDArray[np.bool_], *, bins: int = BINS) -> Reliability:
    """Compare probabilities with the truth.

    Args:
        probability: Of rows that the curve was not fitted on, shape ``(n,)``.
        is_fraud: The truth, shape ``(n,)``.
        bins: How many, of equal counts or differing by one row; no more than rows.

    Raises:
        NotEnoughDataError: There are no rows.
    """
    if not len(probability):
        raise NotEnoughDataError(
            "calibration is measured on scored transactions of known truth: there are none"
        )
    order = np.argsort(probability, kind="stable")
    cuts = np.linspace(0, len(order), min(bins, len(order)) + 1).astype(np.int64)
    rows = np.diff(cuts)
    return Reliability(
        rows=rows,
        predicted=np.add.reduceat(probability[order], cuts[:-1]) / rows,
        observed=np.add.reduceat(is_fraud[order].astype(np.float64), cuts[:-1]) / rows,
        brier=float(np.mean((probability - is_fraud) ** 2)),
    )


def riskiest(probability: Floats, is_fraud: NDArray[np.bool_]) -> Reliability:
    """Compare within the twentieth of highest probability, in bins again.

    Frauds are few: nearly all of them, and all decisions but approve, lie in there.

    Args:
        probability: As for ``reliability``.
        is_fraud: As for ``reliability``.
    """
    top = np.argsort(probability, kind="stable")[-max(1, len(probability) // BINS) :]
    return reliability(probability[top], is_fraud[top])


def summary(probability: Floats, is_fraud: NDArray[np.bool_]) -> dict[str, float]:
    """Return ``expected_calibration_error``, ``expected_calibration_error_top`` and ``brier``; as above."""
    whole, top = reliability(probability, is_fraud), riskiest(probability, is_fraud)
    return {
        "expected_calibration_error": whole.expected_calibration_error,
        "expected_calibration_error_top": top.expected_calibration_error,
        "brier": whole.brier,
    }


def cross_fitted(scores: Floats, is_fraud: NDArray[np.bool_], day: NDArray[np.int32]) -> Floats | None:
    """Return the probability of every row by a curve fitted on the rows of all other days.

    A curve flatters itself on the rows it was fitted on. Where there is one day only, every second row takes
    the place of a day.

    Args:
        scores: The model's, shape ``(n,)``.
        is_fraud: The truth, shape ``(n,)``.
        day: Days, shape ``(n,)``.

    Returns:
        Shape ``(n,)``; None where the other days of some day hold no fraud, or nothing else.
    """
    groups = day if day.size and day.min() < day.max() else np.arange(len(scores)) % 2
    probability = np.empty(len(scores), np.float64)
    for group in np.unique(groups):
        held_out = groups == group
        try:
            curve = calibration.fit(scores[~held_out], is_fraud[~held_out])
        except NotEnoughDataError:
            return None
        probability[held_out] = curve.probability(scores[held_out])
    return probability
