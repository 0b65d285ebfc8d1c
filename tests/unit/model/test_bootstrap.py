"""The paired bootstrap: each resample is what scikit-learn says of the drawn cards' rows."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from fraud.model.bootstrap import _rank, average_precision_differences


def made_up(rows, cards, *, seed=0, digits=2):
    """Truth, two models' scores (rounded, so that many are equal) and cards, each card present."""
    rng = np.random.default_rng(seed)
    is_fraud = rng.random(rows) < 0.1
    scores = [np.round(np.clip(is_fraud * lift + rng.random(rows), 0, 2), digits) for lift in (0.5, 0.6)]
    card = np.concatenate([np.arange(cards), rng.integers(0, cards, rows - cards)])
    return is_fraud, tuple(scores), card


@pytest.mark.parametrize("digits", [1, 2, 8])
def test_weighted_average_precision_is_that_of_scikit_learn(digits):
    is_fraud, (score, _), card = made_up(400, 40, digits=digits)
    weights = np.random.default_rng(1).integers(0, 4, (20, 40)).astype(float)
    found = _rank(is_fraud, score, card).average_precision(weights)
    expected = [average_precision_score(is_fraud, score, sample_weight=each[card]) for each in weights]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_resample_is_the_rows_of_the_drawn_cards():
    is_fraud, scores, card = made_up(300, 30)
    found = average_precision_differences(is_fraud, scores, card, resamples=50, seed=7)
    rng = np.random.default_rng(7)
    for difference in found:
        drawn = np.concatenate([np.flatnonzero(card == one) for one in rng.integers(0, 30, 30)])
        first, second = (average_precision_score(is_fraud[drawn], score[drawn]) for score in scores)
        assert difference == pytest.approx(second - first, abs=1e-12)


def test_a_model_differs_from_itself_by_nothing():
    is_fraud, scores, card = made_up(300, 30)
    assert not average_precision_differences(is_fraud, (scores[0],) * 2, card, resamples=100).any()


def test_what_a_card_has_in_common_makes_the_difference_less_sure():
    is_fraud, (score, _), card = made_up(5_000, 50, digits=8)
    better_for_some = score + is_fraud * np.where(card % 2, 0.4, -0.4)
    spread = [
        np.std(average_precision_differences(is_fraud, (score, better_for_some), unit, resamples=300))
        for unit in (card, np.arange(5_000))
    ]
    assert spread[0] > 1.5 * spread[1]


def test_a_resample_without_frauds_is_no_number():
    is_fraud, scores, card = np.array([True, False, False]), (np.array([3.0, 2.0, 1.0]),) * 2, np.arange(3)
    found = average_precision_differences(is_fraud, scores, card, resamples=200)
    assert 0 < np.isnan(found).sum() < 200
    assert not found[~np.isnan(found)].any()


def test_the_same_seed_draws_the_same_cards():
    is_fraud, scores, card = made_up(300, 30)
    twice = [average_precision_differences(is_fraud, scores, card, resamples=10, seed=3) for _ in range(2)]
    np.testing.assert_array_equal(*twice)


def test_half_a_million_rows_take_seconds():
    is_fraud, scores, card = made_up(500_000, 5_000, digits=8)
    started = time.monotonic()
    average_precision_differences(is_fraud, scores, card, resamples=20)
    assert (time.monotonic() - started) / 20 * 500 < 60
