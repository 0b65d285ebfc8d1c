"""How well decisions and scores did, week by week, on the truth known at an instant.

Only transactions whose truth is known (fraud or genuine) are measured. Counts and distinct scores are kept
instead of rows, so days are tallied apart, anywhere, and merged without loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from fraud.model.metrics import precision_recall
from fraud.model.truth import FRAUD, GENUINE, UNKNOWN, UNOBSERVABLE
from fraud.monitor.week import is_complete


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What some transactions add to a week's performance.

    Attributes:
        transactions: All of them.
        unknown: Those whose truth is not known yet.
        unobservable: Those whose truth never shows: declined or reversed.
        alerts: Matured ones whose decision was review or decline.
        hits: Alerts that were fraud.
        scores: Distinct scores of the matured ones, ascending, shape ``(k,)``.
        matured_at: Matured ones of each score, shape ``(k,)``.
        frauds_at: Frauds of each score, shape ``(k,)``.
    """

    transactions: int
    unknown: int
    unobservable: int
    alerts: int
    hits: int
    scores: NDArray[np.float64]
    matured_at: NDArray[np.int64]
    frauds_at: NDArray[np.int64]


def tally(truth: NDArray[np.int8], score: NDArray[np.float64], alerted: NDArray[np.bool_]) -> Tally:
    """Tally transactions.

    Args:
        truth: As of the instant, from ``fraud.model.truth``, shape ``(n,)``.
        score: The model's output, shape ``(n,)``.
        alerted: Whether the decision was review or decline, shape ``(n,)``.
    """
    matured = (truth == FRAUD) | (truth == GENUINE)
    scores, at = np.unique(score[matured], return_inverse=True)
    frauds = truth[matured] == FRAUD
    return Tally(
        transactions=truth.size,
        unknown=int(np.count_nonzero(truth == UNKNOWN)),
        unobservable=int(np.count_nonzero(truth == UNOBSERVABLE)),
        alerts=int(np.count_nonzero(alerted & matured)),
        hits=int(np.count_nonzero(alerted & (truth == FRAUD))),
        scores=scores,
        matured_at=np.bincount(at, minlength=scores.size),
        frauds_at=np.bincount(at[frauds], minlength=scores.size),
    )


def merge(tallies: Sequence[Tally]) -> Tally:
    """Return the tally of all their transactions together; at least one is given."""
    scores, at = np.unique(np.concatenate([part.scores for part in tallies]), return_inverse=True)
    matured_at, frauds_at = np.zeros(scores.size, np.int64), np.zeros(scores.size, np.int64)
    np.add.at(matured_at, at, np.concatenate([part.matured_at for part in tallies]))
    np.add.at(frauds_at, at, np.concatenate([part.frauds_at for part in tallies]))
    return Tally(
        transactions=sum(part.transactions for part in tallies),
        unknown=sum(part.unknown for part in tallies),
        unobservable=sum(part.unobservable for part in tallies),
        alerts=sum(part.alerts for part in tallies),
        hits=sum(part.hits for part in tallies),
        scores=scores,
        matured_at=matured_at,
        frauds_at=frauds_at,
    )


@dataclass(frozen=True, slots=True)
class Performance:
    """One week of one model, a row of ``monitor_performance``.

    ``alerts``, ``frauds`` and the four measures are of matured transactions only, so precision x alerts is
    the number of frauds caught. A measure is None where it is not defined: no alerts, no frauds.
    """

    week: date
    model_version: str
    transactions: int
    matured: int
    unknown: int
    unobservable: int
    frauds: int
    alerts: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None

    @property
    def unknown_share(self) -> float:
        """The share of its transactions whose truth is not known yet."""
        return self.unknown / self.transactions if self.transactions else 0.0

    def is_provisional(self, as_of: datetime) -> bool:
        """Whether the figures may still change much: the week is not over, or some truth is not known yet."""
        return self.unknown > 0 or not is_complete(self.week, as_of)


def measure(week: date, model_version: str, tally: Tally) -> Performance:
    """Return the performance of a week's tally."""
    matured, frauds = int(tally.matured_at.sum()), int(tally.frauds_at.sum())
    caught = precision_recall(tally.hits, alerts=tally.alerts, frauds=frauds)
    return Performance(
        week=week,
        model_version=model_version,
        transactions=tally.transactions,
        matured=matured,
        unknown=tally.unknown,
        unobservable=tally.unobservable,
        frauds=frauds,
        alerts=tally.alerts,
        precision=caught.precision,
        recall=caught.recall,
        f1=caught.f1,
        average_precision=_average_precision(tally) if frauds else None,
    )


def _average_precision(tally: Tally) -> float:
    """Return the sum over distinct scores, the highest first, of (R_n - R_{n-1}) P_n; not interpolated."""
    frauds_at = tally.frauds_at[::-1]
    caught, flagged = np.cumsum(frauds_at), np.cumsum(tally.matured_at[::-1])
    return float(np.sum(frauds_at / caught[-1] * (caught / flagged)))
