"""What a model is worth: money saved, frauds found at fixed effort, and how near that is to the possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from fraud.model.backtest import outcome
from fraud.model.metrics import card_precision_top_k
from fraud.model.policy import Policy
from fraud.model.traffic import Traffic

FALSE_POSITIVES: Final = 0.01
"""Alerts on this share of the genuine transactions: a point at which models are compared."""


@dataclass(frozen=True, slots=True)
class Worth:
    """Figures of one model on one period.

    Attributes:
        figures: ``savings``; ``recall_1pct_fpr``; ``card_precision_<k>``, ``card_precision_<k>_ceiling`` (of
            a classifier that is always right, on the same rows) and ``value_detected_<k>``, these three None
            without card ids.
        recall_by_fraud_type: As ``recall_1pct_fpr``, of every type of fraud that labels name.
    """

    figures: dict[str, float | None]
    recall_by_fraud_type: dict[str, float]


def worth(traffic: Traffic, policy: Policy, *, k: int) -> Worth:
    """Measure what a model is worth.

    Args:
        traffic: Rows whose truth is known, frauds and genuine ones.
        policy: Decides for the savings. Its threshold may be fitted to this very traffic: truth plays no part
            in that.
        k: Cards a day the team can check.
    """
    is_fraud = traffic.is_fraud
    alerted = alerted_at(is_fraud, traffic.score, false_positives=FALSE_POSITIVES)[is_fraud]
    return Worth(
        {
            "savings": outcome(policy, traffic)["savings"],
            **_cards(traffic, k),
            "recall_1pct_fpr": float(np.mean(alerted)),
        },
        _by_type(alerted, traffic.fraud_type.filter(pa.array(is_fraud))),
    )


def alerted_at(
    is_fraud: NDArray[np.bool_], score: NDArray[np.float64], *, false_positives: float
) -> NDArray[np.bool_]:
    """Return the rows that alerts reach while at most this share of the genuine rows is alerted, ``(n,)``.

    The highest scores come first; rows of equal score are alerted together, or not at all.
    """
    shares, _, thresholds = roc_curve(is_fraud, score, drop_intermediate=False)
    return np.asarray(score >= thresholds[shares <= false_positives][-1], np.bool_)


def _cards(traffic: Traffic, k: int) -> dict[str, float | None]:
    names = f"card_precision_{k}", f"card_precision_{k}_ceiling", f"value_detected_{k}"
    if traffic.card.null_count == len(traffic.card):
        return dict.fromkeys(names)
    day, card, is_fraud = traffic.day, traffic.card, traffic.is_fraud
    checks = card_precision_top_k(day, card, traffic.score, is_fraud, k)
    ceiling = card_precision_top_k(day, card, is_fraud.astype(np.float64), is_fraud, k)
    figures = checks.mean, ceiling.mean, checks.value_detected(traffic.amount, is_fraud)
    return dict(zip(names, figures, strict=True))


def _by_type(alerted: NDArray[np.bool_], kinds: pa.Array) -> dict[str, float]:
    """The share of the frauds of each type that was alerted."""
    recalls = {}
    for kind in sorted(pc.unique(kinds).drop_null().to_pylist()):
        mine = np.asarray(pc.fill_null(pc.equal(kinds, kind), fill_value=False))
        recalls[kind] = float(np.mean(alerted[mine]))
    return recalls
