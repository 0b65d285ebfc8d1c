from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb
from kind_examples import declare

from fraud.model.reasons import Cause, Explainer

FEATURES = declare(
    {"column": "amount"},
    {"calendar": "night", "hours": [0, 6]},
    {"window": "card_id", "stats": ["count"], "spans": ["1d", "7d", "30d"]},
)
AMOUNT, NIGHT, DAY, WEEK, MONTH = range(5)


def adding(*stumps: tuple[int, float, float]) -> xgb.Booster:
    """A booster in which each (feature, below, above) adds one of two values, half of the rows each.

    Rows are the corners of a cube: a feature at 1 contributes half of the difference, at 0 the opposite.
    """
    grid = np.indices((2,) * len(FEATURES.names)).reshape(len(FEATURES.names), -1).T.astype(np.float32)
    truth = sum(np.where(grid[:, feature] > 0.5, above, below) for feature, below, above in stumps)
    asked = {"max_depth": 1, "base_score": 0.0, "lambda": 0, "learning_rate": 1}
    return xgb.train(asked, xgb.DMatrix(grid, truth), len(stumps))


def causes(booster, *values, most=9):
    return Explainer(booster, FEATURES).causes(np.array([values], np.float32), most=most)[0]


def test_windows_of_one_measure_are_one_reason():
    # The amount adds more than any window, all windows together add more than the amount.
    booster = adding((AMOUNT, 0, 8), (DAY, 0, 4), (WEEK, 0, 5), (MONTH, 0, 3))
    assert causes(booster, 1, 0, 1, 1, 1) == (Cause("CARD_VELOCITY", WEEK), Cause("AMOUNT", AMOUNT))


def test_window_that_lowers_counts_against_its_measure():
    booster = adding((AMOUNT, 0, 2), (DAY, 0, 4), (WEEK, 0, 6))
    assert causes(booster, 1, 0, 1, 0, 0) == (Cause("AMOUNT", AMOUNT),)  # +2 -3 of the windows


def test_strongest_feature_stands_for_its_measure_though_another_is_first():
    booster = adding((DAY, 0, 2), (MONTH, 0, 8))
    assert causes(booster, 0, 0, 1, 1, 1) == (Cause("CARD_VELOCITY", MONTH),)


def test_only_what_raises_the_score_strongest_first():
    booster = adding((AMOUNT, 0, 2), (NIGHT, 4, 0), (DAY, 0, 8))
    assert causes(booster, 1, 1, 1, 0, 0) == (Cause("CARD_VELOCITY", DAY), Cause("AMOUNT", AMOUNT))
    assert causes(booster, 1, 0, 1, 0, 0, most=2) == (Cause("CARD_VELOCITY", DAY), Cause("NIGHT", NIGHT))


def test_what_adds_nothing_is_no_reason():
    assert causes(adding((AMOUNT, 0, 2)), 0, 1, 1, 1, 1) == ()


def test_equal_sums_keep_the_order_of_the_features():
    booster = adding((DAY, 0, 4), (NIGHT, 0, 4), (AMOUNT, 0, 4))
    assert [cause.code for cause in causes(booster, 1, 1, 1, 0, 0)] == ["AMOUNT", "NIGHT", "CARD_VELOCITY"]


def test_one_row_has_the_reasons_of_many():
    rng = np.random.default_rng(4)
    matrix = rng.random((300, len(FEATURES.names))).astype(np.float32)
    truth = (matrix[:, 0] + matrix[:, 3] > 1.1).astype(float)
    explainer = Explainer(xgb.train({"max_depth": 4}, xgb.DMatrix(matrix, truth), 20), FEATURES)
    together = explainer.causes(matrix, most=3)
    assert together == [explainer.causes(matrix[row : row + 1], most=3)[0] for row in range(len(matrix))]
    assert len({reasons[0].code for reasons in together if reasons}) > 1


@pytest.mark.parametrize(("rows", "most"), [(0, 3), (2, 0)])
def test_nothing_asked_nothing_told(rows, most):
    explainer = Explainer(adding((AMOUNT, 0, 2)), FEATURES)
    assert explainer.causes(np.ones((rows, 5), np.float32), most=most) == [()] * rows
