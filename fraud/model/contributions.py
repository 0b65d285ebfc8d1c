"""What each feature added to a score: TreeSHAP, exact, on one row in some microseconds.

Let each feature be known with a chance t, and a split whose feature is unknown send a row to either side by
the shares of the training rows. Then what a feature added is the integral, for t from 0 to 1, of the
derivative of the margin's expectation by that feature's chance alone. The integrand is a polynomial, and a
few points give its integral exactly. At each point a row costs two passes over the splits: down, with the
chances of coming to them, and up, with the expectations of what follows. No row depends on another.

Source: Owen 1972 (the integral), Lundberg et al. 2020 (the expectation), Gauss and Legendre (the points).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xgboost as xgb
from numba import njit
from numpy.typing import NDArray

_TOGETHER: Final = 3
"""Points taken in one walk. So many are exact where no way to a leaf asks for more than six features."""


_SPLIT: Final = np.dtype(
    [
        ("feature", np.uint32),
        ("threshold", np.float32),
        ("missing_left", np.bool_),
        ("children", np.uint32, 2),
        ("shares", np.float64, 2),
        ("earlier", np.uint32),
        ("passed", np.float64),
    ]
)
"""As the attributes of ``Forest``; ``passed`` is the share of the rows that the earlier splits let pass."""


@dataclass(frozen=True, slots=True)
class Forest:
    """The trees of a booster; in each the splits come first, parents before children, and then the leaves.

    Attributes:
        begin: Where each tree's splits begin and, last, where all end, shape ``(trees + 1,)``. A tree has one
            leaf more than it has splits.
        value: What a leaf adds to the margin, shape ``(leaves,)``.
        feature: What a split asks for, shape ``(splits,)``.
        threshold: Lesser values go left, shape ``(splits,)``.
        missing_left: Whether a missing value goes left, shape ``(splits,)``.
        children: Left and right within the tree, shape ``(splits, 2)``.
        shares: Of the training rows, how many went left and right, shape ``(splits, 2)``.
        earlier: The child, within the tree, to which the last split of the same feature led on the way here;
            0 where there was none, shape ``(splits,)``.
        unknown: The chance that the feature is unknown where its earlier splits let the row pass, at each
            point, shape ``(walks, splits, 3)``.
        slope: How that chance falls with t, times the point's weight, shape ``(walks, splits, 3)``.
    """

    begin: NDArray[np.uint64]
    value: NDArray[np.float64]
    feature: NDArray[np.uint32]
    threshold: NDArray[np.float32]
    missing_left: NDArray[np.bool_]
    children: NDArray[np.uint32]
    shares: NDArray[np.float64]
    earlier: NDArray[np.uint32]
    unknown: NDArray[np.float64]
    slope: NDArray[np.float64]


def forest(booster: xgb.Booster) -> Forest:
    """Return the trees of a booster of trees with numeric splits."""
    model = json.loads(booster.save_raw(raw_format="json"))["learner"]["gradient_booster"]["model"]
    trees = [_Tree(tree) for tree in model["trees"]]
    splits = np.array([split for tree in trees for split in tree.splits()], _SPLIT)
    columns = {name: np.ascontiguousarray(splits[name]) for name in _SPLIT.names or ()}
    unknown, slope = _chances(columns.pop("passed"), max(tree.features for tree in trees))
    return Forest(
        begin=np.cumsum([0, *(len(tree.inner) for tree in trees)], dtype=np.uint64),
        value=np.array([value for tree in trees for value in tree.values()], np.float64),
        unknown=unknown,
        slope=slope,
        **columns,
    )


def contributions(forest: Forest, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what each feature added to the margin of each row.

    They are those of XGBoost's ``pred_contribs`` without the bias, up to its rounding to float32.

    Args:
        forest: The booster's.
        matrix: Features in the booster's order, shape ``(n, features)``, NaN where missing.
    """
    found: NDArray[np.float64] = _contributions(
        matrix,
        forest.begin,
        forest.value,
        forest.feature,
        forest.threshold,
        forest.missing_left,
        forest.children,
        forest.shares,
        forest.earlier,
        forest.unknown,
        forest.slope,
    )
    return found


class _Tree:
    """One tree of XGBoost's JSON, its nodes in our order."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        left, right = raw["left_children"], raw["right_children"]
        self._last: dict[int, dict[int, int]] = {0: {}}  # of each node, by feature: where its last split led
        order = [0]
        for node in order:
            if left[node] >= 0:
                for child in (left[node], right[node]):
                    self._last[child] = {**self._last[node], raw["split_indices"][node]: child}
                    order.append(child)
        self.inner = [node for node in order if left[node] >= 0]
        self._outer = [node for node in order if left[node] < 0]
        self.features = max(len(self._last[node]) for node in self._outer)

    def values(self) -> Iterator[float]:
        """Yield what each leaf adds."""
        yield from (self._raw["split_conditions"][node] for node in self._outer)

    def splits(self) -> Iterator[tuple[Any, ...]]:
        """Yield the splits, see ``_SPLIT``."""
        raw, rows = self._raw, self._raw["sum_hessian"]
        place = {node: at for at, node in enumerate(self.inner + self._outer)}
        passed = {0: 1.0}
        for node in self.inner:
            left, right = raw["left_children"][node], raw["right_children"][node]
            feature, came = raw["split_indices"][node], rows[left] + rows[right]
            share = rows[left] / came if came else 0.5
            earlier = self._last[node].get(feature, 0)
            passed[left], passed[right] = passed[earlier] * share, passed[earlier] * (1 - share)
            yield (
                feature,
                raw["split_conditions"][node],
                bool(raw["default_left"][node]),
                (place[left], place[right]),
                (share, 1 - share),
                place[earlier],
                passed[earlier],
            )


def _chances(passed: NDArray[np.float64], features: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``unknown`` and ``slope`` of a forest.

    Args:
        passed: Of the training rows, how many the earlier splits of a split's feature let pass.
        features: The most that a way to a leaf asks for: the integrand's degree is one less, and n points
            are exact up to the degree 2 n - 1.
    """
    walks = max(1, -(-features // (2 * _TOGETHER)))
    points, weights = np.polynomial.legendre.leggauss(walks * _TOGETHER)
    t, weight = ((each / 2).reshape(walks, 1, _TOGETHER) for each in (points + 1, weights))
    q = passed[None, :, None]
    let = t + (1 - t) * q  # known, and so it passed, or unknown and sent on
    return (1 - t) * q / let, weight * q / let**2


@njit(nogil=True, cache=True)
def _contributions(
    matrix: Any,
    begin: Any,
    value: Any,
    feature: Any,
    threshold: Any,
    missing_left: Any,
    children: Any,
    shares: Any,
    earlier: Any,
    unknown: Any,
    slope: Any,
) -> Any:  # pragma: no cover
    # Unsigned: an index is not looked at whether it counts from the end. Three points are written out, as a
    # loop over them costs more than what it does.
    one = np.uint64(1)
    rows, features = matrix.shape
    found = np.zeros((rows, features))
    most = 2 * np.int64(np.diff(begin).max()) + 1
    chance = np.empty((most, _TOGETHER))  # of coming to a node
    expected = np.empty((most, _TOGETHER))  # of what follows from there
    near, far = np.empty(most, np.uint32), np.empty(most, np.uint32)  # the children: the row's, the other
    away = np.empty(most)  # the share of the latter
    passes = np.ones(most, np.bool_)  # whether the row passes the splits of the feature that led to a node
    for row in range(rows):
        for walk in range(len(unknown)):
            for tree in range(len(begin) - 1):
                first, size = begin[tree], begin[tree + 1] - begin[tree]
                chance[0, 0] = chance[0, 1] = chance[0, 2] = 1.0
                for node in range(size):
                    at = first + node
                    x = matrix[row, feature[at]]
                    other = np.uint64(
                        (x < threshold[at]) | (np.isnan(x) & missing_left[at])
                    )  # the side not taken
                    a, b, share = children[at, one - other], children[at, other], shares[at, other]
                    near[node], far[node], away[node] = a, b, share
                    known = passes[earlier[at]]
                    passes[a], passes[b] = known, False
                    u0, u1, u2 = unknown[walk, at, 0], unknown[walk, at, 1], unknown[walk, at, 2]
                    if not known:
                        u0 = u1 = u2 = 1.0
                    c0, c1, c2 = chance[node, 0], chance[node, 1], chance[node, 2]
                    f0, f1, f2 = c0 * (u0 * share), c1 * (u1 * share), c2 * (u2 * share)
                    chance[b, 0], chance[b, 1], chance[b, 2] = f0, f1, f2
                    chance[a, 0], chance[a, 1], chance[a, 2] = c0 - f0, c1 - f1, c2 - f2
                for leaf in range(size + one):
                    v = value[first + np.uint64(tree) + leaf]
                    node = size + leaf
                    expected[node, 0] = expected[node, 1] = expected[node, 2] = v
                for back in range(size):
                    node = size - one - back
                    at, a, b, share = first + node, near[node], far[node], away[node]
                    d0 = share * (expected[a, 0] - expected[b, 0])
                    d1 = share * (expected[a, 1] - expected[b, 1])
                    d2 = share * (expected[a, 2] - expected[b, 2])
                    if passes[earlier[at]]:
                        expected[node, 0] = expected[a, 0] - unknown[walk, at, 0] * d0
                        expected[node, 1] = expected[a, 1] - unknown[walk, at, 1] * d1
                        expected[node, 2] = expected[a, 2] - unknown[walk, at, 2] * d2
                        found[row, feature[at]] += (
                            chance[node, 0] * slope[walk, at, 0] * d0
                            + chance[node, 1] * slope[walk, at, 1] * d1
                            + chance[node, 2] * slope[walk, at, 2] * d2
                        )
                    else:
                        expected[node, 0] = expected[a, 0] - d0
                        expected[node, 1] = expected[a, 1] - d1
                        expected[node, 2] = expected[a, 2] - d2
    return found
