from __future__ import annotations

import pytest
from factories_traffic import traffic

from fraud.model.backtest import grid, outcome
from fraud.model.cost import Costs
from fraud.model.policy import Policy
from fraud.settings import PolicySettings

COSTS = Costs(review_cost_minor=500, loss_share=0.5, fraud_cost_minor=100, friction_cost_minor=4000)
POLICY = Policy(version="1", costs=COSTS, review_saving_minor=0.0, decline_probability=0.5)

# Losses where approved: 5100, 5100, 5100, 5100, 1100, 5100.
ROWS = traffic(
    day=[1, 1, 1, 2, 2, 3],
    amount=[10_000, 10_000, 10_000, 10_000, 2_000, 10_000],
    probability=[0.01, 0.3, 0.99, 0.99, 0.1, 0.3],
    is_fraud=[False, True, True, False, True, False],
    is_known=[True, True, True, True, True, False],
)


def test_decisions_cost_what_they_lead_to():
    # approve, review, decline, decline, approve, review (whose truth is not known)
    assert POLICY.decide(ROWS.probability, ROWS.amount) == [
        "approve", "review", "decline", "decline", "approve", "review"
    ]  # fmt: skip
    found = outcome(POLICY, ROWS)
    assert (found["frauds"], found["frauds_caught"]) == (3, 2)
    assert found["fraud_value_caught"] == pytest.approx(20_000 / 22_000)
    assert found["no_model_cost_minor"] == 5_100 + 5_100 + 1_100
    assert found["cost_minor"] == 1_100 + 500 + 4_000  # a fraud missed, a review, a good customer declined
    assert found["savings"] == pytest.approx(1 - 5_600 / 11_300)
    assert (found["good_declined"], found["good_declined_per_fraud_caught"]) == (1, 0.5)


def test_reviews_a_day_count_all_traffic():
    found = outcome(POLICY, ROWS)
    assert found["reviews_per_day"]["mean"] == pytest.approx(2 / 3)
    assert found["reviews_per_day"]["p95"] == 1.0
    assert found["declines_per_day"]["mean"] == pytest.approx(2 / 3)


def test_without_frauds_there_is_no_share():
    found = outcome(POLICY, traffic(amount=[10_000], probability=[0.3]))
    assert (found["fraud_value_caught"], found["savings"], found["good_declined_per_fraud_caught"]) == (
        None, None, None
    )  # fmt: skip
    assert found["cost_minor"] == 500


def test_a_grid_goes_from_no_review_to_every_one_that_saves():
    settings = PolicySettings(reviews_per_day=1, review_cost_minor=500, friction_cost_minor=4_000)
    rows = traffic(
        day=[1] * 30,
        amount=[10_000] * 30,
        probability=[0.1 + n / 100 for n in range(30)],
        is_fraud=[n % 2 == 1 for n in range(30)],
    )
    outcomes = grid(settings, rows, days=1)
    reviews = [each["reviews_per_day"]["mean"] for each in outcomes]
    # Multiples of the budget, of ten at least, then whatever saves.
    assert reviews == [0, 1, 2, 5, 10, 20, 30]
    assert outcomes[0]["review_saving_minor"] is None
    assert outcomes[-1]["review_saving_minor"] == 0
    assert [each["frauds_caught"] for each in outcomes] == sorted(each["frauds_caught"] for each in outcomes)
