from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fraud.errors import BundleError, FormatVersionError, NotEnoughDataError
from fraud.model import policy
from fraud.model.cost import Costs
from fraud.model.fallback import Band
from fraud.model.policy import Policy
from fraud.settings import PolicySettings

# Of 100.00 at probability p: approving costs 10000 p, reviewing 500, declining 4000 (1 - p).
COSTS = Costs(review_cost_minor=500, loss_share=1.0, fraud_cost_minor=0, friction_cost_minor=4000)
POLICY = Policy(version="1", costs=COSTS, review_saving_minor=0.0, decline_probability=0.5)

PROBABILITIES = st.floats(0, 1)
AMOUNTS = st.integers(0, 1_000_000_000)
POLICIES = st.builds(
    Policy,
    version=st.just("any"),
    costs=st.builds(
        Costs,
        review_cost_minor=st.integers(0, 5_000),
        loss_share=st.floats(0, 1),
        fraud_cost_minor=st.integers(0, 5_000),
        friction_cost_minor=st.integers(0, 50_000),
    ),
    review_saving_minor=st.none() | st.floats(0, 20_000),
    decline_probability=st.floats(0, 1, exclude_min=True),
)


def decide(found, *rows):
    probability, amount = zip(*rows, strict=True)
    return found.decide(np.array(probability), np.array(amount))


def fit(probability, amount=10_000, *, days=1, **settings):
    amounts = np.broadcast_to(np.asarray(amount), len(probability))
    return policy.fit(np.array(probability), amounts, days=days, settings=PolicySettings(**settings))


def band(below_minor, decision="review", beyond_budget="approve"):
    return {"below_minor": below_minor, "decision": decision, "beyond_budget": beyond_budget}


BANDS = (Band(100, "approve", "approve"), Band(5_000, "review", "approve"), Band(None, "review", "decline"))


def test_the_cheapest_decision_is_taken():
    # 0.04: 400 to approve, less than a review. 0.06: 600 to approve, 500 to review.
    # 0.8: 800 to decline, 500 to review. 0.9: 400 to decline.
    decided = decide(POLICY, (0.04, 10_000), (0.06, 10_000), (0.8, 10_000), (0.9, 10_000))
    assert decided == ["approve", "review", "review", "decline"]


def test_the_amount_decides_at_the_same_probability():
    # 0.2 of 2000 is 400, less than a review; 0.2 of 3000 is 600.
    assert decide(POLICY, (0.2, 2_000), (0.2, 3_000)) == ["approve", "review"]


def test_equal_costs_are_not_reviewed():
    assert decide(POLICY, (0.05, 10_000), (0.875, 10_000)) == ["approve", "decline"]


def test_where_reviews_are_few_the_next_cheapest_is_taken():
    # At 0.6 a review saves min(6000, 1600) - 500 = 1100, at 0.5 it saves min(5000, 2000) - 500 = 1500.
    found = replace(POLICY, review_saving_minor=1_100.0)
    assert decide(found, (0.6, 10_000), (0.5, 10_000)) == ["decline", "review"]


def test_nothing_is_declined_below_the_decline_probability():
    found = replace(POLICY, review_saving_minor=None, decline_probability=0.7)
    assert decide(found, (0.69, 1_000_000), (0.7, 1_000_000)) == ["approve", "decline"]


def test_a_test_charge_passes_unless_a_fraud_costs_more_than_its_amount():
    assert decide(POLICY, (0.99, 1), (0.99, 0)) == ["approve", "approve"]
    guarded = replace(POLICY, costs=replace(COSTS, fraud_cost_minor=2_000))
    # 0.99 * 2001 to approve, 500 to review, 0.01 * 4000 to decline.
    assert decide(guarded, (0.99, 1), (0.99, 0), (0.1, 1)) == ["decline", "decline", "approve"]


def test_missing_probability_is_approved():
    assert decide(POLICY, (float("nan"), 10_000)) == ["approve"]


def test_decisions_are_plain_strings():
    assert type(decide(POLICY, (0.5, 100))[0]) is str


@given(POLICIES, st.lists(PROBABILITIES, min_size=2, max_size=50), AMOUNTS)
def test_the_decision_rises_with_the_probability(found, probability, amount):
    decided = found.decide(np.sort(probability), np.full(len(probability), amount))
    ranks = [policy.DECISIONS.index(decision) for decision in decided]
    assert ranks == sorted(ranks)


@given(POLICIES, st.lists(st.tuples(PROBABILITIES, AMOUNTS), min_size=1, max_size=200))
def test_one_row_is_decided_as_among_many(found, rows):
    assert decide(found, *rows) == [decide(found, row)[0] for row in rows]


def test_the_budget_goes_where_reviews_save_most():
    # Savings of 10000 p - 500 below a half: 500, 1500, 2500, 3500; two days of one review each.
    found = fit([0.1, 0.2, 0.3, 0.4], days=2, reviews_per_day=1, friction_cost_minor=10_000)
    assert found.review_saving_minor == 1_500.0
    assert decide(found, (0.2, 10_000), (0.3, 10_000)) == ["approve", "review"]


def test_a_large_amount_is_reviewed_before_a_likely_fraud():
    found = fit([0.4, 0.1], [2_000, 90_000], reviews_per_day=1)
    assert decide(found, (0.4, 2_000), (0.1, 90_000)) == ["approve", "review"]


def test_ties_at_the_edge_do_not_exceed_the_budget():
    found = fit([0.1, 0.3, 0.3, 0.3, 0.4], reviews_per_day=2)
    assert decide(found, (0.3, 10_000), (0.4, 10_000)) == ["approve", "review"]


def test_no_budget_reviews_nothing():
    found = fit([0.1, 0.4, 0.99], reviews_per_day=0)
    assert found.review_saving_minor is None
    assert decide(found, (0.4, 10**9), (0.99, 10**9)) == ["approve", "decline"]


def test_a_budget_above_the_traffic_reviews_whatever_saves():
    found = fit([0.01, 0.4], reviews_per_day=10)
    assert decide(found, (0.01, 10_000), (0.4, 10_000)) == ["approve", "review"]


@given(
    st.lists(st.tuples(PROBABILITIES, st.integers(0, 1_000_000)), min_size=1, max_size=200),
    st.integers(0, 30),
    st.integers(1, 5),
    st.integers(0, 1_000),
)
def test_reviews_never_exceed_the_budget(rows, budget, days, review_cost):
    probability, amount = (np.array(column) for column in zip(*rows, strict=True))
    found = fit(probability, amount, days=days, reviews_per_day=budget, review_cost_minor=review_cost)
    assert found.decide(probability, amount).count("review") <= budget * days


def test_without_a_score_the_amount_decides():
    found = replace(POLICY, fallback=BANDS)
    amounts = (0, 99, 100, 4_999, 5_000, 10**9)
    assert [found.fall_back(amount) for amount in amounts] == [*["approve"] * 2, *["review"] * 4]


def test_beyond_the_alert_budget_a_band_does_not_review():
    found = replace(POLICY, fallback=BANDS)
    decided = [found.fall_back(amount, lambda: False) for amount in (0, 100, 5_000)]
    assert decided == ["approve", "approve", "decline"]


def test_the_alert_budget_is_asked_for_reviews_only():
    asked = []
    found = replace(POLICY, fallback=BANDS)
    for amount in (0, 100, 5_000):
        found.fall_back(amount, lambda at=amount: bool(asked.append(at)))
    assert asked == [100, 5_000]


def test_fit_takes_the_fallback_of_the_settings():
    found = fit([0.1], fallback=({"below_minor": 30, "decision": "decline"}, {"decision": "review"}))
    assert found.fallback == (Band(30, "decline", "approve"), Band(None, "review", "approve"))
    assert fit([0.1]).digest != found.digest


@pytest.mark.parametrize(
    "bands",
    [
        [],
        [{"below_minor": 100, "decision": "review"}],
        [{"decision": "approve"}, {"decision": "review"}],
        [{"below_minor": 100, "decision": "approve"}] * 2 + [{"decision": "review"}],
        [{"decision": "review", "beyond_budget": "review"}],
    ],
)
def test_settings_need_a_fallback_for_every_amount(bands):
    with pytest.raises(ValidationError, match="fallback"):
        PolicySettings(fallback=bands)


def test_fit_needs_days_and_rows():
    with pytest.raises(NotEnoughDataError):
        fit([0.5], days=0)
    with pytest.raises(NotEnoughDataError):
        fit([])


@given(POLICIES)
def test_json_round_trip_keeps_policy_and_digest(found):
    again = policy.from_json(json.loads(policy.canonical(found.to_json())), path="here")
    assert again == found
    assert again.digest == found.digest


def test_another_threshold_is_another_digest_and_version():
    a, b = fit([0.3, 0.2], reviews_per_day=1), fit([0.3, 0.25], reviews_per_day=1)
    assert (a.digest, a.version) != (b.digest, b.version)
    assert fit([0.3, 0.2], reviews_per_day=1) == a


def test_other_format_version_is_refused_with_what_to_do():
    with pytest.raises(FormatVersionError, match="format_version 2, this release reads 3: fit another with"):
        policy.from_json({**POLICY.to_json(), "format_version": 2}, path="here")


@pytest.mark.parametrize(
    "change",
    [
        {"decline_probability": 0},
        {"decline_probability": "x"},
        {"review_saving_minor": float("inf")},
        {"review_saving_minor": -1.0},
        {"fallback": "no"},
        {"fallback": []},
        {"fallback": [band(100)]},
        {"fallback": [band(None), band(100)]},
        {"fallback": [band(200), band(100), band(None)]},
        {"fallback": [band(0), band(None)]},
        {"fallback": [band(1.5), band(None)]},
        {"fallback": [band(None, "later")]},
        {"fallback": [band(None, beyond_budget="review")]},
        {"fallback": [{"below_minor": None, "decision": "review"}]},
        {"more": 1},
        {"max_reasons": 4.0},
        {"reviews_per_day": True},
        {"version": 7},
        {"costs": None},
        {"costs": {"loss_share": 1}},
        {"costs": {**vars(COSTS), "loss_share": 1.1}},
        {"costs": {**vars(COSTS), "friction_cost_minor": float("nan")}},
    ],
)
def test_damaged_policy_is_refused(change):
    with pytest.raises(BundleError, match=r"policy\.json.*fraud policy fit"):
        policy.from_json({**POLICY.to_json(), **change}, path="here")


def test_policy_without_costs_is_refused():
    raw = POLICY.to_json()
    del raw["costs"]
    with pytest.raises(BundleError, match="missing or unknown"):
        policy.from_json(raw, path="here")


@given(POLICIES, st.lists(st.tuples(PROBABILITIES | st.just(float("nan")), AMOUNTS), min_size=2, max_size=20))
def test_one_transaction_is_decided_upon_as_among_others(found, rows):
    assert [decide(found, row)[0] for row in rows] == decide(found, *rows)
