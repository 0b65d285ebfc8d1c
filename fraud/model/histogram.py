"""Histograms with exact counts: what a model was trained on, and what a week looked like on the same bins.

A histogram of k edges has k + 1 bins ``(-inf, e1], (e1, e2], ..., (ek, inf)``, so every number has a bin,
however far outside the range the edges were made from. NaN is counted apart, as missing.

Values are compared as float32, the precision the model sees: a column read back as float64 and the same
column handed to the booster fall into the same bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 20
"""Quantile bins of a reference: 5 % of the rows each, where the values allow it."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often values fell between edges.

    Attributes:
        edges: Finite, strictly ascending; bin i holds ``edges[i - 1] < value <= edges[i]``.
        counts: One per bin, one more than there are edges.
        missing: How many values were NaN.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(
                f"{len(self.edges)} edges make {len(self.edges) + 1} bins, not {len(self.counts)}"
            )
        if not np.all(np.isfinite(self.edges)) or np.any(np.diff(self.edges) <= 0):
            raise ValueError("the edges of a histogram must be finite and ascending")
        if self.missing < 0 or min(self.counts) < 0:
            raise ValueError("the counts of a histogram cannot be negative")

    @property
    def rows(self) -> int:
        """All values counted, the missing ones too."""
        return sum(self.counts) + self.missing

    @property
    def median(self) -> float:
        """The upper edge of the bin that the middle value fell into, so at most a bin above the middle.

        NaN where most values are missing or none was counted, and where no edge is above the middle one.
        """
        below = np.cumsum(self.counts)
        if self.rows == 0 or 2 * self.missing > self.rows:
            return float("nan")
        place = int(np.searchsorted(below, below[-1] / 2))
        return self.edges[place] if place < len(self.edges) else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers; ``from_json`` gives the same histogram back."""
        return {"edges": list(self.edges), "counts": list(self.counts), "missing": self.missing}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Histogram:
        """Return the histogram that ``to_json`` wrote.

        Raises:
            KeyError: A field is missing.
            ValueError: The fields are no histogram.
        """
        edges = tuple(float(edge) for edge in data["edges"])
        return cls(edges, tuple(int(n) for n in data["counts"]), int(data["missing"]))


def build(values: NDArray[np.floating[Any]], bins: int = BINS) -> Histogram:
    """Count values between edges made from their own quantiles.

    Equal quantiles are one edge. A value that fills more than one quantile gets a bin of its own, so that a
    column that is mostly one number (a flag, a rate that is usually 0) still shows which side it moved to.

    Args:
        values: Any floats, shape ``(n,)``; NaN is missing, infinities fall into the outer bins.
        bins: How many quantile bins to aim at.
    """
    numbers = _as_seen(values)
    finite = numbers[np.isfinite(numbers)]
    if finite.size == 0:
        return count(values, ())
    quantiles = np.quantile(finite, np.arange(1, bins) / bins, method="inverted_cdf").astype(np.float32)
    edges, repeats = np.unique(quantiles, return_counts=True)
    with np.errstate(over="ignore", under="ignore"):
        below = np.nextafter(edges[repeats > 1], np.float32(-np.inf))
    both = np.unique(np.concatenate([edges, below]))
    return count(values, tuple(float(edge) for edge in both[np.isfinite(both)]))


def count(values: NDArray[np.floating[Any]], edges: Sequence[float]) -> Histogram:
    """Count values between given edges, for example a reference's; ``values`` as in ``build``."""
    numbers = _as_seen(values)
    present = numbers[~np.isnan(numbers)]
    bins = np.searchsorted(np.asarray(edges, np.float64), present.astype(np.float64), side="left")
    counts = np.bincount(bins, minlength=len(edges) + 1)
    return Histogram(tuple(edges), tuple(counts.tolist()), int(numbers.size - present.size))


def add(a: Histogram, b: Histogram) -> Histogram:
    """Return the histogram of both bags of values.

    Raises:
        ValueError: They have different edges.
    """
    if a.edges != b.edges:
        raise ValueError("histograms with different edges cannot be added")
    counts = tuple(x + y for x, y in zip(a.counts, b.counts, strict=True))
    return Histogram(a.edges, counts, a.missing + b.missing)


def _as_seen(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float32)
