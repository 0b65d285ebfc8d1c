"""How sure a difference of average precisions is: the same resampled cards measure both models.

Cards are drawn, not transactions: the frauds of a card come together, and their scores with them, so single
rows would make the difference look surer than it is. Not days either: an evaluation has a few weeks, and so
few blocks give no bound worth the name. What is common to many cards at once, such as a wave of attacks in
the last week, stays outside of the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_AT_ONCE: Final = 16_000_000
"""Weights held in memory at a time."""


def average_precision_differences(
    is_fraud: NDArray[np.bool_],
    scores: tuple[NDArray[np.float64], NDArray[np.float64]],
    card: NDArray[np.int64],
    *,
    resamples: int,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return the second model's average precision less the first's, of every resample.

    Args:
        is_fraud: Truth, shape ``(n,)``.
        scores: Of the two models on the same rows, shape ``(n,)`` each.
        card: Numbers from 0 of what is drawn together, shape ``(n,)``; every number occurs.
        resamples: How many times as many cards as there are are drawn, with replacement.
        seed: Of the draws.

    Returns:
        Shape ``(resamples,)``; NaN where no fraud was drawn.
    """
    ranked = [_rank(is_fraud, score, card) for score in scores]
    cards = int(card.max()) + 1
    rng = np.random.default_rng(seed)
    differences = []
    step = max(1, _AT_ONCE // len(is_fraud))
    for first in range(0, resamples, step):
        draws = [rng.integers(0, cards, cards) for _ in range(min(step, resamples - first))]
        weights = np.stack([np.bincount(draw, minlength=cards) for draw in draws]).astype(np.float64)
        before, after = (each.average_precision(weights) for each in ranked)
        differences.append(after - before)
    return np.concatenate(differences)


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """Rows from the highest score down to the lowest score of a fraud, in steps that end where a fraud's do.

    Attributes:
        card: Of each row, shape ``(m,)``.
        starts: Where each step begins among the rows, shape ``(s,)``.
        fraud_card: Of each fraud in the same order, shape ``(f,)``.
        fraud_starts: Where each step begins among the frauds, shape ``(s,)``.
    """

    card: NDArray[np.int64]
    starts: NDArray[np.int64]
    fraud_card: NDArray[np.int64]
    fraud_starts: NDArray[np.int64]

    def average_precision(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return sum of (R_n - R_{n-1}) P_n with cards weighted, ``(resamples, cards)`` to ``(resamples,)``.

        Only the thresholds at which a fraud comes in change the recall, so steps between them are one.
        """
        found = np.add.reduceat(weights[:, self.fraud_card], self.fraud_starts, axis=1)
        alerts = np.cumsum(np.add.reduceat(weights[:, self.card], self.starts, axis=1), axis=1)
        hits = np.cumsum(found, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(alerts > 0, hits / alerts, 0.0)
            return np.asarray((found * precision).sum(axis=1) / hits[:, -1], np.float64)


def _rank(is_fraud: NDArray[np.bool_], score: NDArray[np.float64], card: NDArray[np.int64]) -> _Ranked:
    order = np.argsort(-score, kind="stable")
    ordered, fraud = score[order], is_fraud[order]
    # Equal scores are one threshold: a step ends with the last row of a score that a fraud has.
    levels = np.unique(ordered[fraud])[::-1]
    ends = np.searchsorted(-ordered, -levels, side="right")
    kept = slice(0, int(ends[-1]))
    rows = np.flatnonzero(fraud)
    return _Ranked(
        card=card[order][kept],
        starts=np.concatenate([[0], ends[:-1]]),
        fraud_card=card[order][rows],
        fraud_starts=np.searchsorted(rows, np.concatenate([[0], ends[:-1]])),
    )
