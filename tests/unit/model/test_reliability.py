from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from fraud.errors import NotEnoughDataError
from fraud.model import calibration
from fraud.model.reliability import cross_fitted, reliability, riskiest
from fraud.model.reliability_plot import draw


def test_bins_hold_equal_counts_in_the_order_of_probability():
    found = reliability(
        np.array([0.9, 0.1, 0.2, 0.6, 0.3]), np.array([True, False, False, True, True]), bins=2
    )
    assert found.rows.tolist() == [2, 3]
    np.testing.assert_allclose(found.predicted, [0.15, 0.6])
    np.testing.assert_allclose(found.observed, [0.0, 1.0])


def test_error_is_the_distance_weighted_by_rows():
    found = reliability(
        np.array([0.9, 0.1, 0.2, 0.6, 0.3]), np.array([True, False, False, True, True]), bins=2
    )
    assert found.expected_calibration_error == pytest.approx((2 * 0.15 + 3 * 0.4) / 5)
    assert found.brier == pytest.approx((0.01 + 0.01 + 0.04 + 0.16 + 0.49) / 5)


def test_no_more_bins_than_rows():
    assert reliability(np.array([0.5, 0.1]), np.array([True, False])).rows.tolist() == [1, 1]
    with pytest.raises(NotEnoughDataError):
        reliability(np.array([]), np.array([], bool))


def test_the_riskiest_twentieth_is_cut_again():
    probability = np.arange(1_000) / 1_000
    found = riskiest(probability, probability > 0.97)
    assert found.rows.sum() == 50
    assert found.predicted[0] == pytest.approx((0.950 + 0.951) / 2)
    assert (found.observed[0], found.observed[-1]) == (0, 1)


def test_true_probabilities_have_almost_no_error():
    rng = np.random.default_rng(3)
    probability = rng.random(100_000) ** 4
    found = reliability(probability, rng.random(100_000) < probability)
    assert found.expected_calibration_error < 0.005
    assert reliability(probability / 2, rng.random(100_000) < probability).expected_calibration_error > 0.05


def test_a_day_is_calibrated_by_the_other_days_only():
    rng = np.random.default_rng(4)
    scores, day = rng.random(300), np.repeat([5, 6, 9], 100)
    is_fraud = rng.random(300) < scores
    found = cross_fitted(scores, is_fraud, day)
    for held_out in (5, 6, 9):
        others = day != held_out
        curve = calibration.fit(scores[others], is_fraud[others])
        np.testing.assert_array_equal(found[~others], curve.probability(scores[~others]))


def test_noise_cannot_flatter_itself():
    # Scores without meaning: the curve follows their noise, and only rows it has not seen tell.
    rng = np.random.default_rng(5)
    scores, is_fraud, day = rng.random(2_000), rng.random(2_000) < 0.02, np.arange(2_000) % 7
    seen = calibration.fit(scores, is_fraud).probability(scores)
    honest = reliability(cross_fitted(scores, is_fraud, day), is_fraud)
    assert reliability(seen, is_fraud).brier < honest.brier


def test_one_day_is_halved():
    scores, is_fraud = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    found = cross_fitted(scores, is_fraud, np.full(4, 7))
    odd = calibration.fit(scores[1::2], is_fraud[1::2])
    np.testing.assert_array_equal(found[::2], odd.probability(scores[::2]))


def test_frauds_of_one_day_only_cannot_be_cross_fitted():
    scores, is_fraud = np.array([0.1, 0.9, 0.2, 0.3]), np.array([False, True, False, False])
    assert cross_fitted(scores, is_fraud, np.array([1, 1, 2, 2])) is None


def test_the_diagram_is_a_picture(tmp_path):
    rng = np.random.default_rng(6)
    probability = rng.random(5_000) ** 6
    draw(probability, rng.random(5_000) < probability, tmp_path / "plot.png")
    assert imread(tmp_path / "plot.png").shape == (840, 720, 4)


def test_the_diagram_fills_its_page(tmp_path):
    probability = np.linspace(0.2, 0.8, 5_000)
    draw(probability, np.random.default_rng(7).random(5_000) < probability, tmp_path / "plot.png")
    drawn = (imread(tmp_path / "plot.png")[:, :, :3] < 1).any(axis=(1, 2))
    assert drawn.mean() > 0.9


def test_a_diagram_without_frauds_is_drawn_too(tmp_path):
    probability = np.zeros(50)
    draw(probability, np.zeros(50, bool), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0
