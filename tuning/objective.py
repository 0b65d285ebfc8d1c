"""What a search maximises: a figure of ``fraud evaluate``, measured on the validation rows of one fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fraud.model.metrics import auc_roc, average_precision, card_precision_top_k
from tuning.settings import Metric


@dataclass(frozen=True, eq=False)
class Answers:
    """What validation rows turned out to be.

    Attributes:
        is_fraud: Truth, shape ``(n,)``.
        day: Days since 1970-01-01, shape ``(n,)``.
        card: Card ids, strings with nulls, length n.
    """

    is_fraud: NDArray[np.bool_]
    day: NDArray[np.int32]
    card: pa.Array


@dataclass(frozen=True, slots=True)
class Objective:
    """The figure to maximise.

    Attributes:
        metric: Which.
        top_k: Cards a day that a team checks, for the card precision.
    """

    metric: Metric
    top_k: int

    def __call__(self, answers: Answers, score: NDArray[np.float64]) -> float:
        """Measure the scores of validation rows, shape ``(n,)``.

        Raises:
            NotEnoughDataError: The rows cannot be measured: one class only, or no card.
        """
        if self.metric == "card_precision":
            return card_precision_top_k(answers.day, answers.card, score, answers.is_fraud, self.top_k).mean
        measure = auc_roc if self.metric == "auc_roc" else average_precision
        return measure(answers.is_fraud, score)
