"""From a score to a probability: an isotonic curve kept as points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fraud.errors import BundleError, NotEnoughDataError

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A non-decreasing curve through the points (x, y), straight between them, flat outside.

    Attributes:
        x: Scores, strictly ascending.
        y: Probabilities at those scores, not descending.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def probability(self, scores: Points) -> Points:
        """Return the probability of fraud for each score.

        A score gives the same bits whatever scores stand beside it. (``numpy.interp`` takes another path for
        long inputs, which a compiler may round differently.)

        Args:
            scores: Scores in [0, 1], shape ``(n,)``; NaN stays NaN.
        """
        probabilities: Points = _probabilities(np.asarray(scores, np.float64), *self._points)
        return probabilities

    def to_json(self) -> dict[str, Any]:
        """Return the points as plain lists."""
        return {"x": list(self.x), "y": list(self.y)}

    @cached_property
    def _points(self) -> tuple[Points, Points]:
        return np.array(self.x, np.float64), np.array(self.y, np.float64)


@njit(nogil=True, cache=True)
def _probabilities(scores: Any, x: Any, y: Any) -> Any:  # pragma: no cover
    found = np.empty(len(scores))
    for place in range(len(scores)):
        score = scores[place]
        if np.isnan(score):
            found[place] = np.nan
        elif len(x) == 1:
            found[place] = y[0]
        else:
            left = min(max(np.searchsorted(x, score, side="right") - 1, 0), len(x) - 2)
            share = (score - x[left]) / (x[left + 1] - x[left])
            straight = y[left] + share * (y[left + 1] - y[left])
            found[place] = min(max(straight, y[left]), y[left + 1])
    return found


def from_json(raw: Mapping[str, Any], *, path: str) -> Calibration:
    """Read the points back.

    Raises:
        BundleError: They do not describe a curve from scores to probabilities.
    """
    try:
        curve = Calibration(tuple(map(float, raw["x"])), tuple(map(float, raw["y"])))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(path, "calibration.json lacks its points; register the model again") from error
    x, y = curve.x, curve.y
    ascending = all(a < b for a, b in pairwise(x))
    rising = all(a <= b for a, b in pairwise(y))
    in_range = bool(y) and all(map(math.isfinite, x)) and 0 <= y[0] <= y[-1] <= 1
    if not (len(x) == len(y) and ascending and rising and in_range):
        raise BundleError(path, "calibration.json is no rising curve; register the model again")
    return curve


def fit(scores: Points, is_fraud: NDArray[np.bool_]) -> Calibration:
    """Fit the curve on transactions that the model was not trained on.

    Isotonic regression gives steps: thousands of scores share one probability and a threshold on it
    cannot meet an alert budget. So each step is replaced by its centre (its mean score) and the centres
    are joined (centred isotonic regression, Source: Oron and Flournoy 2017, section 3); the first and the
    last step are drawn out to their ends by one more observation. One made-up fraud at the lowest score
    and one made-up genuine transaction at the highest keep probabilities off 0 and 1: ten pure frauds at
    the top are no certainty. The curve then rises strictly between the lowest and the highest score seen.

    Args:
        scores: The model's scores, shape ``(n,)``.
        is_fraud: The truth, shape ``(n,)``.

    Raises:
        NotEnoughDataError: There is no fraud, or nothing but frauds.
    """
    from sklearn.isotonic import IsotonicRegression  # a replica calibrates, it never fits

    frauds, rows = int(np.count_nonzero(is_fraud)), len(scores)
    if not 0 < frauds < rows:
        raise NotEnoughDataError(
            f"calibration needs frauds and genuine transactions, found {frauds} frauds in {rows} rows: "
            "raise train.calibration_d or ingest more labelled days"
        )
    low, high = float(scores.min()), float(scores.max())
    x = np.concatenate([[low], scores, [high]]).astype(np.float64)
    y = np.concatenate([[1.0], is_fraud, [0.0]]).astype(np.float64)
    steps = IsotonicRegression(y_min=0.0, y_max=1.0).fit(x, y).predict(x)
    levels, step, size = np.unique(steps, return_inverse=True, return_counts=True)
    centres = np.bincount(step, weights=x) / size
    points = dict(zip(centres.tolist(), levels.tolist(), strict=True))
    n, first, last = size + 1, float(levels[0]) * size[0], float(levels[-1]) * size[-1]
    if low < centres[0]:
        points[low] = float(first / n[0])
    if high > centres[-1]:
        points[high] = float(min(1.0, (last + 1) / n[-1]))
    ordered = sorted(points.items())
    return Calibration(tuple(a for a, _ in ordered), tuple(b for _, b in ordered))
