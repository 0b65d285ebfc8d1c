from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb

from fraud.model.contributions import contributions, forest

FEATURES = 7


def trained(*, seed: int = 0, rounds: int = 15, **params) -> xgb.Booster:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(1500, FEATURES)).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    truth = (np.nan_to_num(matrix[:, 0] * matrix[:, 1]) + matrix[:, 2] > 0.7).astype(float)
    asked = {"objective": "binary:logistic", "base_score": 0.5, "nthread": 1, **params}
    return xgb.train(asked, xgb.DMatrix(matrix, truth), rounds)


def rows(n: int) -> np.ndarray:
    rng = np.random.default_rng(9)
    matrix = rng.normal(size=(n, FEATURES)).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.3] = np.nan
    matrix[-1] = np.nan
    return matrix


@pytest.mark.parametrize("depth", [1, 3, 6, 10])
def test_contributions_are_those_of_xgboost(depth):
    booster, matrix = trained(max_depth=depth, seed=depth), rows(200)
    expected = booster.predict(xgb.DMatrix(matrix), pred_contribs=True)[:, :-1]
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(contributions(forest(booster), matrix), expected, rtol=0, atol=1e-5)


def test_infinite_values_go_where_large_ones_go():
    found = forest(trained(max_depth=4))
    large = np.full((1, FEATURES), 3e38, np.float32)
    for sign in (1, -1):
        infinite = np.full((1, FEATURES), sign * np.inf, np.float32)
        np.testing.assert_array_equal(contributions(found, infinite), contributions(found, sign * large))


def test_split_value_itself_goes_right():
    booster = trained(max_depth=4)
    splits = booster.trees_to_dataframe().query("Feature != 'Leaf'")
    matrix = rows(len(splits))
    columns = splits["Feature"].str.removeprefix("f").astype(int)
    matrix[np.arange(len(splits)), columns] = splits["Split"].astype(np.float32)
    expected = booster.predict(xgb.DMatrix(matrix), pred_contribs=True)[:, :-1]
    np.testing.assert_allclose(contributions(forest(booster), matrix), expected, rtol=0, atol=1e-5)


def test_one_split_shares_by_hand():
    # 30 rows of 0 left, 10 rows of 1 right, equal hessians: means of the leaves weigh 3 to 1.
    matrix = np.array([[0.0]] * 30 + [[1.0]] * 10, np.float32)
    booster = xgb.train(
        {"max_depth": 1, "base_score": 0.0, "lambda": 0, "learning_rate": 1, "objective": "reg:squarederror"},
        xgb.DMatrix(matrix, np.r_[np.zeros(30), np.full(10, 4.0)]),
        1,
    )
    found = contributions(forest(booster), np.array([[0.0], [1.0]], np.float32))
    np.testing.assert_allclose(found, [[-1.0], [3.0]])  # from the mean of 1 down to 0, up to 4


def test_contributions_add_up_to_the_margin():
    booster, matrix = trained(max_depth=5), rows(100)
    margin = booster.predict(xgb.DMatrix(matrix), output_margin=True)
    expected_value = margin - contributions(forest(booster), matrix).sum(axis=1)
    np.testing.assert_allclose(expected_value, expected_value[0], atol=1e-5)


def test_one_row_has_the_contributions_of_many():
    found, matrix = forest(trained(max_depth=6)), rows(300)
    together = contributions(found, matrix)
    alone = np.vstack([contributions(found, matrix[row : row + 1]) for row in range(len(matrix))])
    np.testing.assert_array_equal(together, alone)


def test_trees_without_splits_contribute_nothing():
    booster = xgb.train({"gamma": 1e9}, xgb.DMatrix(np.zeros((4, 2)), np.array([0, 1, 0, 1])), 3)
    assert not contributions(forest(booster), np.ones((2, 2), np.float32)).any()
