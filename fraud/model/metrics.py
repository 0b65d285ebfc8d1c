"""How good scores are: their ranking, a team that checks k cards a day, and alerts at a threshold.

AUC alone flatters a model on rare frauds, so it is reported together with average precision and card
precision, as the Fraud Detection Handbook (Le Borgne et al. 2022, chapter 4) recommends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud.errors import NotEnoughDataError


def average_precision(is_fraud: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Return the average precision, sum over thresholds of (R_n - R_{n-1}) P_n, without interpolation.

    Args:
        is_fraud: Truth, shape ``(n,)``.
        score: The higher the more suspicious, shape ``(n,)``.

    Raises:
        NotEnoughDataError: The rows hold no fraud or nothing but fraud.
    """
    _require_both(is_fraud)
    return float(average_precision_score(is_fraud, score))


def auc_roc(is_fraud: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve; arguments and errors as for ``average_precision``."""
    _require_both(is_fraud)
    return float(roc_auc_score(is_fraud, score))


def _require_both(is_fraud: NDArray[np.bool_]) -> None:
    frauds, rows = int(np.count_nonzero(is_fraud)), is_fraud.size
    if frauds in (0, rows):
        raise NotEnoughDataError(
            f"{rows} rows with {frauds} frauds cannot be measured: take a period with frauds and genuine rows"
        )


class PrecisionRecall(NamedTuple):
    """Alerts against the truth; None where nothing was alerted, or nothing was fraud."""

    precision: float | None
    recall: float | None
    f1: float | None


def precision_recall(hits: int, *, alerts: int, frauds: int) -> PrecisionRecall:
    """Return precision, recall and F1 of so many alerts, of which so many hit one of so many frauds."""
    return PrecisionRecall(
        precision=hits / alerts if alerts else None,
        recall=hits / frauds if frauds else None,
        f1=2 * hits / (alerts + frauds) if alerts + frauds else None,
    )


def precision_recall_f1(is_fraud: NDArray[np.bool_], alerted: NDArray[np.bool_]) -> PrecisionRecall:
    """Return precision, recall and F1 of alerts; both arguments have shape ``(n,)``."""
    hits = int(np.count_nonzero(is_fraud & alerted))
    return precision_recall(
        hits, alerts=int(np.count_nonzero(alerted)), frauds=int(np.count_nonzero(is_fraud))
    )


@dataclass(frozen=True, slots=True, eq=False)
class DailyChecks:
    """A team that checks the k most suspicious cards of every day and blocks those it finds compromised.

    Attributes:
        days: The days that had a card left to check, ascending, shape ``(d,)``.
        precision: Compromised cards among the checked ones, over k, shape ``(d,)``.
        checked: Whether the row's card was checked on the row's day, shape ``(n,)``.
        remaining: Whether the row's card had not been found on an earlier day, shape ``(n,)``.
    """

    days: NDArray[np.int32]
    precision: NDArray[np.float64]
    checked: NDArray[np.bool_]
    remaining: NDArray[np.bool_]

    @property
    def mean(self) -> float:
        """Card precision at k: the mean over days."""
        return float(np.mean(self.precision))

    def value_detected(self, amount: NDArray[np.int64], is_fraud: NDArray[np.bool_]) -> float | None:
        """Return the share of the fraud value of remaining cards that lay on checked cards.

        Args:
            amount: In minor units of one currency, shape ``(n,)``.
            is_fraud: Truth, shape ``(n,)``.

        Returns:
            Between 0 and 1; None where there is no fraud value.
        """
        lost = int(amount[is_fraud & self.remaining].sum())
        return int(amount[is_fraud & self.checked].sum()) / lost if lost else None


def card_precision_top_k(
    day: NDArray[np.int32],
    card: pa.Array,
    score: NDArray[np.float64],
    is_fraud: NDArray[np.bool_],
    k: int,
) -> DailyChecks:
    """Measure a team that checks k cards a day.

    Per day, cards found on earlier days are left out; a card has the maximum score and the maximum label
    of its rows; the k cards of highest score are checked; precision is the compromised ones over k, also
    where a day has fewer than k cards. Equal scores are taken in ascending order of the card id, shorter
    ids first, so that ids of digits come in numeric order. Rows without a card are no one's and ignored.

    Source: Fraud Detection Handbook, chapter 4, card precision top-k.

    Args:
        day: Days since any fixed date, shape ``(n,)``.
        card: Card ids, strings with nulls, length n.
        score: The higher the more suspicious, shape ``(n,)``.
        is_fraud: Truth, shape ``(n,)``.
        k: Cards a day the team can check.

    Raises:
        NotEnoughDataError: No row has a card.
    """
    code, cards = _card_codes(card)
    if cards == 0:
        raise NotEnoughDataError("card precision needs transactions with a card_id: map one, or leave it out")
    found = np.zeros(cards, np.bool_)
    days, precision = [], []
    checked, remaining = np.zeros(day.size, np.bool_), np.zeros(day.size, np.bool_)
    for today in np.unique(day):
        rows = np.flatnonzero((day == today) & (code >= 0))
        rows = rows[~found[code[rows]]]
        if rows.size == 0:
            continue
        chosen, compromised = _most_suspicious(code[rows], score[rows], is_fraud[rows], k)
        remaining[rows] = True
        checked[rows] = np.isin(code[rows], chosen)
        found[chosen[compromised]] = True
        days.append(today)
        precision.append(np.count_nonzero(compromised) / k)
    return DailyChecks(np.asarray(days, np.int32), np.asarray(precision, np.float64), checked, remaining)


def _most_suspicious(
    code: NDArray[np.int64], score: NDArray[np.float64], is_fraud: NDArray[np.bool_], k: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the k cards of highest score and which of them are compromised."""
    cards, row_card = np.unique(code, return_inverse=True)
    highest = np.full(cards.size, -np.inf)
    np.maximum.at(highest, row_card, score)
    compromised = np.zeros(cards.size, np.bool_)
    compromised[row_card[is_fraud]] = True
    top = np.argsort(-highest, kind="stable")[:k]
    return cards[top], compromised[top]


def _card_codes(card: pa.Array) -> tuple[NDArray[np.int64], int]:
    """Number the cards in the order that breaks ties; null is -1. Returns the numbers and how many cards."""
    encoded = card.cast(pa.string()).dictionary_encode()
    ids = encoded.dictionary
    lengths = pa.table({"length": pc.binary_length(ids), "id": ids})
    order = pc.sort_indices(lengths, sort_keys=[("length", "ascending"), ("id", "ascending")])
    rank = np.empty(len(ids) + 1, np.int64)
    rank[np.asarray(order)] = np.arange(len(ids))
    rank[-1] = -1  # where a null's index -1 points
    return rank[np.asarray(pc.fill_null(encoded.indices, -1))], len(ids)
