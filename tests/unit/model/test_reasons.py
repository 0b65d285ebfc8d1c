from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb

from fraud.model.reasons import reasons, text

NAMES = ("amount", "is_night", "card_id_count_1d", "terminal_id_fraud_mean_7d_delay_7d")


@pytest.fixture(scope="module")
def booster():
    rng = np.random.default_rng(3)
    matrix = rng.random((400, len(NAMES))).astype(np.float32)
    truth = (matrix[:, 0] + matrix[:, 3] > 1.4).astype(float)
    return xgb.train({"max_depth": 3, "objective": "binary:logistic"}, xgb.DMatrix(matrix, truth), 12)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "terminal_id_fraud_mean_7d_delay_7d",
            0.25,
            "share of known frauds of this terminal, 7 days up to 7 days ago: 0.25",
        ),
        ("card_id_count_1d", 14.0, "number of transactions of this card, 1 day: 14"),
        ("card_id_amount_mean_30d", 5321.5, "mean amount in minor units of this card, 30 days: 5321.5"),
        ("device_amount_sum_12h", 7.0, "total amount in minor units of this device, 12 hours: 7"),
        (
            "card_id_fraud_sum_1d_delay_30m",
            1.0,
            "number of known frauds of this card, 1 day up to 30 minutes ago: 1",
        ),
        ("amount", 999.0, "amount in minor units: 999"),
        ("is_night", 1.0, "night: yes"),
        ("is_weekend", 0.0, "weekend: no"),
        ("merchant_risk", 0.5, "merchant risk: 0.5"),
        ("card_id_count_1d", float("nan"), "number of transactions of this card, 1 day: missing"),
    ],
)
def test_wording_comes_from_the_name(name, value, words):
    assert text(name, value) == words


def test_only_what_raised_the_score_strongest_first(booster):
    matrix = np.array([[0.99, 0.5, 0.5, 0.9]], np.float32)
    contributions = booster.predict(xgb.DMatrix(matrix), pred_contribs=True)[0, :-1]
    expected = [at for at in np.argsort(-contributions, kind="stable") if contributions[at] > 0]
    assert reasons(booster, matrix, NAMES, most=4)[0] == tuple(
        text(NAMES[at], matrix[0, at]) for at in expected
    )
    assert reasons(booster, matrix, NAMES, most=1)[0] == (text(NAMES[expected[0]], matrix[0, expected[0]]),)


def test_equal_contributions_keep_feature_order():
    # One split on either column gives both columns the same contribution for a row high in both.
    model = xgb.train(
        {
            "max_depth": 1,
            "objective": "binary:logistic",
            "base_score": 0.5,
            "lambda": 0,
            "learning_rate": 0.5,
        },
        xgb.DMatrix(np.array([[0, 0], [1, 1]] * 20, np.float32), [0, 1] * 20),
        1,
    )
    found = reasons(model, np.array([[1, 1]], np.float32), ("b", "a"), most=5)
    assert found == [("b: 1",)]  # the other column contributes nothing, so it is no reason


def test_one_row_has_the_reasons_of_many(booster):
    matrix = np.random.default_rng(4).random((300, len(NAMES))).astype(np.float32)
    together = reasons(booster, matrix, NAMES, most=3)
    alone = [reasons(booster, matrix[row : row + 1], NAMES, most=3)[0] for row in range(len(matrix))]
    assert together == alone


def test_nothing_asked_nothing_told(booster):
    assert reasons(booster, np.empty((0, 4), np.float32), NAMES, most=3) == []
    assert reasons(booster, np.zeros((2, 4), np.float32), NAMES, most=0) == [(), ()]
