from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.errors import BundleError, NotEnoughDataError
from fraud.model import calibration
from fraud.model.calibration import Calibration

CURVE = Calibration((0.2, 0.4, 0.8), (0.0, 0.1, 0.9))


def test_probability_is_straight_between_points():
    np.testing.assert_allclose(CURVE.probability(np.array([0.2, 0.3, 0.6, 0.8])), [0.0, 0.05, 0.5, 0.9])


def test_probability_is_flat_outside_the_points():
    np.testing.assert_array_equal(CURVE.probability(np.array([-1.0, 0.0, 0.9, 1.0])), [0.0, 0.0, 0.9, 0.9])


def test_missing_score_has_no_probability():
    assert np.isnan(CURVE.probability(np.array([np.nan]))).all()
    assert np.isnan(Calibration((0.5,), (0.5,)).probability(np.array([np.nan]))).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.integers(0, 2**32 - 1))
def test_one_row_has_the_bits_of_many(scores, seed):
    rng = np.random.default_rng(seed)
    points = np.unique(rng.random(7))
    curve = Calibration(tuple(points.tolist()), tuple(np.sort(rng.random(len(points))).tolist()))
    together = curve.probability(np.array(scores))
    alone = [curve.probability(np.array([score]))[0] for score in scores]
    np.testing.assert_array_equal(together, alone)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=100))
def test_probability_never_falls_with_the_score(scores):
    assert np.all(np.diff(CURVE.probability(np.sort(scores))) >= 0)


def test_fit_joins_the_centres_of_the_steps():
    # With a made-up fraud at 0.1 and a made-up genuine row at 0.4 the pool-adjacent-violators steps are
    # {0.1, 0.1, 0.2 -> 1/3}, {0.3, 0.4, 0.4 -> 2/3}; centres 0.4/3 and 1.1/3; ends 1/4 and 3/4.
    curve = calibration.fit(np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, False, True, True]))
    np.testing.assert_allclose(curve.x, [0.1, 0.4 / 3, 1.1 / 3, 0.4])
    np.testing.assert_allclose(curve.y, [1 / 4, 1 / 3, 2 / 3, 3 / 4])


def test_fitted_curve_keeps_the_order_of_scores():
    rng = np.random.default_rng(5)
    scores = np.sort(rng.random(5000))
    curve = calibration.fit(scores, rng.random(5000) < scores**4)
    assert np.all(np.diff(curve.probability(scores)) > 0)


def test_fitted_curve_is_calibrated():
    rng = np.random.default_rng(6)
    scores = rng.random(50_000)
    curve = calibration.fit(scores, rng.random(50_000) < scores**2)
    grid = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(curve.probability(grid), grid**2, atol=0.05)


def test_few_frauds_at_the_top_are_no_certainty():
    curve = calibration.fit(np.array([0.1, 0.2, 0.9]), np.array([False, False, True]))
    assert 0 < curve.y[0] < curve.y[-1] < 0.9


def test_equal_scores_give_one_point():
    curve = calibration.fit(np.array([0.5, 0.5]), np.array([False, True]))
    np.testing.assert_array_equal(curve.probability(np.array([0.0, 0.5, 1.0])), [0.5, 0.5, 0.5])


@pytest.mark.parametrize("truth", [[False, False], [True, True], []])
def test_one_class_is_not_enough(truth):
    with pytest.raises(NotEnoughDataError, match=r"train\.calibration_d"):
        calibration.fit(np.linspace(0, 1, len(truth)), np.array(truth, bool))


def test_json_keeps_every_bit():
    rng = np.random.default_rng(1)
    curve = Calibration(tuple(np.sort(rng.random(5)).tolist()), tuple(np.sort(rng.random(5)).tolist()))
    assert calibration.from_json(curve.to_json(), path="here") == curve


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"x": [0.1], "y": []},
        {"x": [], "y": []},
        {"x": [0.2, 0.1], "y": [0.1, 0.2]},
        {"x": [0.1, 0.2], "y": [0.2, 0.1]},
        {"x": [0.1], "y": [1.1]},
        {"x": [0.1], "y": ["no"]},
        {"x": [float("nan")], "y": [0.5]},
        {"x": 3, "y": 3},
    ],
)
def test_damaged_points_are_refused(raw):
    with pytest.raises(BundleError, match=r"calibration\.json"):
        calibration.from_json(raw, path="here")
