"""The gate on arrays: who passes, who does not, and what the report says of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from factories_policy import make_policy

from fraud.model import gate
from fraud.model.cost import Costs
from fraud.model.gate import Contender, Rows
from fraud.model.metrics import average_precision
from fraud.settings import PromotionSettings

SETTINGS = PromotionSettings(resamples=500)
COSTS = Costs(review_cost_minor=200, loss_share=1.0, fraud_cost_minor=0, friction_cost_minor=5000)
POLICY = make_policy("1", costs=COSTS, review_saving_minor=2_000.0)
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


def judge(on, challenger, champion, **changes):
    return gate.judge(on, challenger, champion, costs=COSTS, settings=SETTINGS.model_copy(update=changes))


def by_name(checks):
    return {check.name: check for check in checks}


def test_an_equal_model_passes():
    on = rows()
    champion = contender(on)
    checks = judge(on, champion, champion)
    assert [check.name for check in checks] == [
        "average_precision_difference",
        "cost_minor",
        "calibration_error",
    ]
    assert all(check.passed for check in checks)
    assert checks[0].value == 0.0


def test_a_better_model_passes():
    on = rows()
    checks = judge(on, contender(on, skill=0.8), contender(on, skill=0.5))
    assert all(check.passed for check in checks)
    assert checks[0].value > 0.2


def test_a_worse_model_is_refused_for_its_ranking_and_its_cost():
    on = rows()
    checks = by_name(judge(on, contender(on, skill=0.5), contender(on, skill=0.6)))
    assert not checks["average_precision_difference"].passed
    assert checks["average_precision_difference"].value < -0.05
    assert not checks["cost_minor"].passed


def test_a_difference_that_may_be_chance_is_refused():
    on = rows()
    champion = contender(on, skill=0.6, seed=1)
    other = contender(on, skill=0.6, seed=3)  # as good, but on other frauds
    check = judge(on, other, champion)[0]
    assert average_precision(on.is_fraud, other.score) > average_precision(on.is_fraud, champion.score)
    assert -0.1 < check.value < -SETTINGS.max_precision_loss
    assert not check.passed
    assert judge(on, other, champion, max_precision_loss=0.1)[0].passed


def test_cost_counts_missed_frauds_reviews_and_wrong_declines():
    amount = np.array([700, 8_000, 90_000, 50, 8_000, 90_000])
    on = Rows(np.array([True, True, True, False, False, False]), amount, np.arange(6))
    probability = np.array([0.1, 0.5, 0.999, 0.1, 0.5, 0.999])
    # Reviewed where that saves more than 2000: at one half, of 8000. Sure frauds are declined instead.
    found = Contender(probability, probability, POLICY)
    assert POLICY.decide(probability, amount) == ["approve", "review", "decline"] * 2
    # One fraud of 700 approved, two reviews of 200, one genuine transaction declined for 5000.
    assert gate.cost(found, on, COSTS) == 700 + 2 * 200 + 5000
    assert gate.cost(found, on, replace(COSTS, loss_share=0.5, friction_cost_minor=1)) == 350 + 2 * 200 + 1


def test_a_costlier_policy_is_refused():
    on = rows()
    champion = contender(on)
    eager = contender(on, policy=replace(POLICY, review_saving_minor=-500.0))
    check = by_name(judge(on, eager, champion))["cost_minor"]
    assert not check.passed
    assert check.limit == pytest.approx(gate.cost(champion, on, COSTS) + 0.005 * on.amount[on.is_fraud].sum())
    assert by_name(judge(on, eager, champion, max_cost_increase=100.0))["cost_minor"].passed


def test_probabilities_that_say_never_are_refused():
    on = rows()
    silent = replace(contender(on), probability=np.zeros(N))
    check = by_name(judge(on, silent, None))["calibration_error"]
    assert check.value == pytest.approx(on.is_fraud.mean())
    assert not check.passed


def test_a_first_champion_is_held_to_absolute_figures():
    on = rows()
    checks = judge(on, contender(on), None)
    assert [check.name for check in checks] == ["average_precision", "calibration_error"]
    assert all(check.passed for check in checks)
    guess = replace(contender(on), score=np.random.default_rng(3).random(N))
    refused = judge(on, guess, None)[0]
    assert not refused.passed
    assert refused.limit == pytest.approx(5 * on.is_fraud.mean())


def test_a_first_champion_can_pass_where_frauds_are_common():
    on = rows(share=0.3)
    check = judge(on, contender(on, skill=0.9), None)[0]
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
    checks = judge(on, contender(on, skill=0.5), contender(on))
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
