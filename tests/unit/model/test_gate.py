"""The gate on arrays: who passes, who does not, and what the report says of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fraud.model import gate
from fraud.model.gate import Contender, Rows
from fraud.model.metrics import average_precision
from fraud.model.policy import Policy
from fraud.settings import PromotionSettings

SETTINGS = PromotionSettings(resamples=500)
POLICY = Policy(version="1", review_probability=0.3, decline_probability=0.9)
N, CARDS = 20_000, 2_000


def rows(*, seed=0, share=0.02):
    rng = np.random.default_rng(seed)
    return Rows(
        is_fraud=rng.random(N) < share,
        amount=rng.integers(100, 20_000, N),
        card=np.concatenate([np.arange(CARDS), rng.integers(0, CARDS, N - CARDS)]),
    )


def contender(on, *, skill=0.6, seed=1, policy=POLICY):
    """A model whose probabilities are right by construction: it knows ``skill`` of the frauds, no more."""
    rng = np.random.default_rng(seed)
    known = on.is_fraud & (rng.random(N) < skill)
    left = float(np.mean(on.is_fraud[~known]))
    probability = np.where(known, 0.99, left) * (1 - 1e-3 * rng.random(N))
    return Contender(probability, probability, policy)


def by_name(checks):
    return {check.name: check for check in checks}


def test_an_equal_model_passes():
    on = rows()
    champion = contender(on)
    checks = gate.judge(on, champion, champion, SETTINGS)
    assert [check.name for check in checks] == [
        "average_precision_difference",
        "cost_minor",
        "calibration_error",
    ]
    assert all(check.passed for check in checks)
    assert checks[0].value == 0.0


def test_a_better_model_passes():
    on = rows()
    checks = gate.judge(on, contender(on, skill=0.8), contender(on, skill=0.5), SETTINGS)
    assert all(check.passed for check in checks)
    assert checks[0].value > 0.2


def test_a_worse_model_is_refused_for_its_ranking_and_its_cost():
    on = rows()
    checks = by_name(gate.judge(on, contender(on, skill=0.5), contender(on, skill=0.6), SETTINGS))
    assert not checks["average_precision_difference"].passed
    assert checks["average_precision_difference"].value < -0.05
    assert not checks["cost_minor"].passed


def test_a_difference_that_may_be_chance_is_refused():
    on = rows()
    champion = contender(on, skill=0.6, seed=1)
    other = contender(on, skill=0.6, seed=3)  # as good, but on other frauds
    check = gate.judge(on, other, champion, SETTINGS)[0]
    assert average_precision(on.is_fraud, other.score) > average_precision(on.is_fraud, champion.score)
    assert -0.1 < check.value < -SETTINGS.max_precision_loss
    assert not check.passed
    assert gate.judge(on, other, champion, SETTINGS.model_copy(update={"max_precision_loss": 0.1}))[0].passed


def test_cost_counts_missed_frauds_reviews_and_wrong_declines():
    on = Rows(
        np.array([True, True, True, False, False, False]), np.array([700, 800, 900, 50, 60, 70]), np.arange(6)
    )
    probability = np.array([0.1, 0.5, 0.95, 0.1, 0.5, 0.95])
    # One fraud of 700 approved, two reviews of 500, one genuine transaction declined for 5000.
    assert gate.cost(Contender(probability, probability, POLICY), on) == 700 + 2 * 500 + 5000


def test_a_costlier_policy_is_refused():
    on = rows()
    champion = contender(on)
    eager = contender(on, policy=replace(POLICY, review_probability=0.0))
    check = by_name(gate.judge(on, eager, champion, SETTINGS))["cost_minor"]
    assert not check.passed
    assert check.limit == pytest.approx(gate.cost(champion, on) + 0.005 * on.amount[on.is_fraud].sum())
    lenient = SETTINGS.model_copy(update={"max_cost_increase": 100.0})
    assert by_name(gate.judge(on, eager, champion, lenient))["cost_minor"].passed


def test_calibration_error_is_the_distance_in_bins_of_equal_counts():
    probability = np.repeat([0.1, 0.4], 100)
    is_fraud = np.zeros(200, np.bool_)
    is_fraud[:100:10] = True  # one in each bin of ten, as predicted
    is_fraud[100::5] = True  # two in each bin of ten, where four were predicted
    assert gate.calibration_error(probability, is_fraud) == pytest.approx((0.0 + 0.2) / 2)


def test_probabilities_that_say_never_are_refused():
    on = rows()
    silent = replace(contender(on), probability=np.zeros(N))
    check = by_name(gate.judge(on, silent, None, SETTINGS))["calibration_error"]
    assert check.value == pytest.approx(on.is_fraud.mean())
    assert not check.passed


def test_a_first_champion_is_held_to_absolute_figures():
    on = rows()
    checks = gate.judge(on, contender(on), None, SETTINGS)
    assert [check.name for check in checks] == ["average_precision", "calibration_error"]
    assert all(check.passed for check in checks)
    guess = replace(contender(on), score=np.random.default_rng(3).random(N))
    refused = gate.judge(on, guess, None, SETTINGS)[0]
    assert not refused.passed
    assert refused.limit == pytest.approx(5 * on.is_fraud.mean())


def test_a_first_champion_can_pass_where_frauds_are_common():
    on = rows(share=0.3)
    check = gate.judge(on, contender(on, skill=0.9), None, SETTINGS)[0]
    assert check.limit == pytest.approx((1 + on.is_fraud.mean()) / 2)
    assert check.passed


@pytest.mark.parametrize(
    ("count", "frauds", "passed"), [(1000, 30, True), (999, 30, False), (1000, 29, False)]
)
def test_too_few_rows_say_nothing(count, frauds, passed):
    assert gate.enough(count, frauds, SETTINGS).passed is passed


def test_a_slow_model_is_refused():
    assert gate.quick(10.0, SETTINGS).passed
    assert not gate.quick(10.1, SETTINGS).passed


def test_the_report_names_every_check_with_value_and_limit():
    on = rows()
    checks = gate.judge(on, contender(on, skill=0.5), contender(on), SETTINGS)
    verdict = gate.Verdict((gate.enough(N, 400, SETTINGS), *checks, gate.quick(0.5, SETTINGS)))
    report = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert report["passed"] is verdict.passed is False
    assert [check["name"] for check in report["checks"]] == [
        "enough_rows",
        "average_precision_difference",
        "cost_minor",
        "calibration_error",
        "latency_ms",
    ]
    assert len(verdict.failed) == 2
    assert "as low as -" in verdict.failed[0]
    assert "| latency_ms | passed | 0.5 | 10 | one transaction takes 0.50 ms" in verdict.text()
    assert report["text"].count("**failed**") == 2
