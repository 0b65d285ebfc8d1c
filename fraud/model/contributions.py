"""What each feature added to a score: TreeSHAP, exact, on one row in some microseconds.

A leaf is reached by conditions on features. Taken one leaf at a time, what a feature adds is a sum over the
subsets of the leaf's other features, and all of those sums are the coefficients of one small polynomial. So a
row costs a walk over the leaves, without a matrix of XGBoost's, and depends on no other row.

Source: Lundberg et al. 2020, algorithm 2; leaf by leaf as in Mitchell et al. 2022 (GPUTreeShap). Each
unsatisfied condition has the same part, which is computed once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import comb
from typing import Any, NamedTuple

import numpy as np
import xgboost as xgb
from numba import njit
from numpy.typing import NDArray


class _Condition(NamedTuple):
    """Which values of a feature lead on to a leaf, and the share of the training rows that did."""

    low: float = -np.inf
    high: float = np.inf
    takes_missing: bool = True
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Leaves:
    """The leaves of a booster, each with a condition for every feature on the way to it.

    Attributes:
        value: What a leaf adds to the margin, shape ``(leaves,)``.
        begin: Where each leaf's conditions begin and, last, where all end, shape ``(leaves + 1,)``.
        feature: The condition's feature, shape ``(conditions,)``, as are the following.
        low: The least value that is let through.
        high: The least value above it that is not.
        takes_missing: Whether a missing value is let through.
        share: Of the training rows that came to the splits of this feature, how many were let through.
        weight: Of a subset of m of the other d - 1 features of a leaf, at ``[d, m]``.
    """

    value: NDArray[np.float64]
    begin: NDArray[np.int64]
    feature: NDArray[np.int64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    takes_missing: NDArray[np.bool_]
    share: NDArray[np.float64]
    weight: NDArray[np.float64]


def leaves(booster: xgb.Booster) -> Leaves:
    """Return the leaves of a booster of trees with numeric splits."""
    model = json.loads(booster.save_raw(raw_format="json"))["learner"]["gradient_booster"]["model"]
    found = [leaf for tree in model["trees"] for leaf in _leaves(tree)]
    conditions = [(feature, *each) for _, path in found for feature, each in path.items()]
    feature, low, high, takes_missing, share = zip(*conditions, strict=True) if conditions else ((),) * 5
    deepest = max(len(path) for _, path in found)
    weight = np.zeros((deepest + 1, deepest + 1))
    for d in range(1, deepest + 1):
        weight[d, :d] = [1 / (d * comb(d - 1, m)) for m in range(d)]
    return Leaves(
        np.array([value for value, _ in found]),
        np.cumsum([0, *(len(path) for _, path in found)], dtype=np.int64),
        np.array(feature, np.int64),
        np.array(low, np.float32),
        np.array(high, np.float32),
        np.array(takes_missing, np.bool_),
        np.array(share, np.float64),
        weight,
    )


def contributions(leaves: Leaves, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what each feature added to the margin of each row.

    They are those of XGBoost's ``pred_contribs`` without the bias, up to its rounding to float32.

    Args:
        leaves: The booster's.
        matrix: Features in the booster's order, shape ``(n, features)``, NaN where missing.
    """
    found: NDArray[np.float64] = _contributions(
        matrix,
        leaves.value,
        leaves.begin,
        leaves.feature,
        leaves.low,
        leaves.high,
        leaves.takes_missing,
        leaves.share,
        leaves.weight,
    )
    return found


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[float, dict[int, _Condition]]]:
    """Yield each leaf's value and its condition on each feature, features in the order of the path."""
    left, right, rows = tree["left_children"], tree["right_children"], tree["sum_hessian"]
    todo: list[tuple[int, dict[int, _Condition]]] = [(0, {})]
    while todo:
        node, path = todo.pop()
        split = tree["split_conditions"][node]  # of a leaf, its value
        if left[node] < 0:
            yield split, path
            continue
        feature, missing_left = tree["split_indices"][node], bool(tree["default_left"][node])
        low, high, takes_missing, share = path.get(feature, _Condition())
        for child, part in (
            (left[node], _Condition(low, min(high, split), takes_missing and missing_left)),
            (right[node], _Condition(max(low, split), high, takes_missing and not missing_left)),
        ):
            through = part._replace(share=share * rows[child] / rows[node] if rows[node] else 0.0)
            todo.append((child, {**path, feature: through}))


@njit(nogil=True, cache=True)
def _contributions(
    matrix: Any,
    value: Any,
    begin: Any,
    feature: Any,
    low: Any,
    high: Any,
    takes_missing: Any,
    share: Any,
    weight: Any,
) -> Any:  # pragma: no cover
    rows, features = matrix.shape
    found = np.zeros((rows, features))
    polynomial = np.empty(len(weight) + 1)
    satisfied = np.empty(len(weight), np.bool_)
    for row in range(rows):
        for leaf in range(len(value)):
            first, end = begin[leaf], begin[leaf + 1]
            weights = weight[end - first]
            # Coefficient m is the sum, over the subsets of m satisfied conditions, of the others' shares.
            polynomial[0] = 1.0
            degree = 0
            rest = value[leaf]
            for place in range(first, end):
                x = matrix[row, feature[place]]
                let = (
                    takes_missing[place]
                    if np.isnan(x)
                    else low[place] <= x and (x < high[place] or high[place] == np.inf)
                )
                satisfied[place - first] = let
                if let:
                    _multiply(polynomial, degree, share[place])
                    degree += 1
                else:
                    rest *= share[place]
            unsatisfied = 0.0
            if degree < end - first:
                for m in range(degree + 1):
                    unsatisfied += weights[m] * polynomial[m]
            for place in range(first, end):
                if satisfied[place - first]:
                    others = _weighted_quotient(polynomial, degree, share[place], weights)
                    found[row, feature[place]] += rest * (1.0 - share[place]) * others
                else:
                    found[row, feature[place]] -= rest * unsatisfied
    return found


@njit(nogil=True, cache=True)
def _multiply(polynomial: Any, degree: Any, share: Any) -> None:  # pragma: no cover
    """Multiply a polynomial by (share + x), in place."""
    polynomial[degree + 1] = polynomial[degree]
    for m in range(degree, 0, -1):
        polynomial[m] = polynomial[m] * share + polynomial[m - 1]
    polynomial[0] *= share


@njit(nogil=True, cache=True)
def _weighted_quotient(polynomial: Any, degree: Any, share: Any, weights: Any) -> Any:  # pragma: no cover
    """Divide a polynomial by its factor (share + x) and add up the quotient's weighted coefficients.

    From the highest power down each step multiplies by a share, which is at most 1: errors do not grow.
    """
    coefficient, total = 0.0, 0.0
    for m in range(degree, 0, -1):
        coefficient = polynomial[m] - share * coefficient
        total += weights[m - 1] * coefficient
    return total
