"""Why a transaction is reviewed or declined: the measures that raised its score, the strongest first.

The windows of one measure rise and fall together, so they are one reason: what they added is summed up by
the measure's code, and the one that added most stands for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from fraud.features.spec import FeatureSet
from fraud.model.contributions import contributions, forest


@dataclass(frozen=True, slots=True)
class Cause:
    """A measure that raised a score.

    Attributes:
        code: The measure's.
        feature: The position of the feature that added most of it.
    """

    code: str
    feature: int


class Explainer:
    """Finds the causes of a model's scores, by exact TreeSHAP."""

    def __init__(self, booster: xgb.Booster, feature_set: FeatureSet) -> None:
        """Read the booster's trees; the features are in its order."""
        codes = [measure.code for measure in feature_set.measures.values()]
        self._forest = forest(booster)
        self._codes = tuple(dict.fromkeys(codes))
        self._code = np.array([self._codes.index(code) for code in codes])
        self._features = [np.flatnonzero(self._code == place) for place in range(len(self._codes))]

    def causes(self, matrix: NDArray[np.float32], *, most: int) -> list[tuple[Cause, ...]]:
        """Return the causes of each row, the strongest first.

        A cause has a positive sum of contributions to the margin; equal sums keep the order of the features.
        A row's causes do not depend on the rows beside it.

        Args:
            matrix: Only the rows asked about, shape ``(n, features)``.
            most: The most causes a row gets.
        """
        return [self._of_row(row, most) for row in contributions(self._forest, matrix)]

    def contributions(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what each feature added to the margin, shape ``(n, features)`` as the matrix."""
        return contributions(self._forest, matrix)

    def _of_row(self, added: NDArray[np.float64], most: int) -> tuple[Cause, ...]:
        sums = np.bincount(self._code, added, len(self._codes))
        strongest = np.argsort(-sums, kind="stable")[:most]
        return tuple(self._cause(place, added) for place in strongest if sums[place] > 0)

    def _cause(self, place: int, added: NDArray[np.float64]) -> Cause:
        features = self._features[place]
        return Cause(self._codes[place], int(features[added[features].argmax()]))
