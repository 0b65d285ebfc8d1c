"""What is decided by the amount alone, where no score can be had in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Band:
    """The amounts below an edge, down to the edge of the band before.

    Attributes:
        below_minor: The edge, in minor units of the base currency; the band does not hold it. None: no edge.
        decision: Taken for these amounts.
        beyond_budget: Taken in place of a review once the reviews of the day are given.
    """

    below_minor: int | None
    decision: str
    beyond_budget: str


def find(bands: Sequence[Band], amount: int) -> Band:
    """Return the band of an amount, in minor units of the base currency."""
    return next(band for band in bands if amount < _edge(band))


def are_whole(bands: Sequence[Band]) -> bool:
    """Whether edges rise and the last band is open, so that every amount is in exactly one of them."""
    edges = [_edge(band) for band in bands]
    return math.inf in edges and edges == sorted({*edges}) and edges[0] > 0


def _edge(band: Band) -> float:
    return math.inf if band.below_minor is None else band.below_minor
