from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud.errors import NotEnoughDataError
from tuning.objective import Answers, Objective

FRAUD = np.array([True, False, False, True])
SCORE = np.array([0.9, 0.8, 0.1, 0.2])
ANSWERS = Answers(FRAUD, np.array([1, 1, 2, 2], np.int32), pa.array(["a", "b", "c", "d"]))


def test_metrics_are_those_of_an_evaluation() -> None:
    assert Objective("average_precision", 1)(ANSWERS, SCORE) == average_precision_score(FRAUD, SCORE)
    assert Objective("auc_roc", 1)(ANSWERS, SCORE) == roc_auc_score(FRAUD, SCORE)


@pytest.mark.parametrize(("top_k", "expected"), [(1, 1.0), (2, 0.5)])  # a fraud a day on top
def test_card_precision_takes_the_cards_a_team_can_check(top_k: int, expected: float) -> None:
    assert Objective("card_precision", top_k)(ANSWERS, SCORE) == expected


def test_card_precision_without_cards_is_refused() -> None:
    cardless = Answers(FRAUD, ANSWERS.day, pa.nulls(4, pa.string()))
    with pytest.raises(NotEnoughDataError, match="card_id"):
        Objective("card_precision", 1)(cardless, SCORE)
