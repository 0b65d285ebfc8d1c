from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.errors import BundleError, FormatVersionError, NotEnoughDataError
from fraud.model import policy
from fraud.model.policy import Policy
from fraud.settings import PolicySettings

POLICY = Policy(version="1", review_probability=0.3, decline_probability=0.9)


def fit(probability, *, days=1, **settings):
    return policy.fit(np.array(probability), days=days, settings=PolicySettings(**settings))


def test_a_transaction_at_a_threshold_is_above_it():
    decided = POLICY.decide(np.array([0.0, 0.299, 0.3, 0.899, 0.9, 1.0]))
    assert decided == ["approve", "approve", "review", "review", "decline", "decline"]


def test_decisions_are_plain_strings():
    assert type(POLICY.decide(np.array([0.5]))[0]) is str


def test_reasons_are_asked_for_reviews_and_declines():
    asked = POLICY.reasons_asked(np.array([0.1, 0.3, 0.95]))
    assert asked.tolist() == [False, True, True]


def test_review_threshold_fills_the_budget():
    found = fit([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], days=2, reviews_per_day=2)
    assert found.review_probability == 0.3


def test_declines_cost_no_review():
    found = fit([0.1, 0.2, 0.3, 0.95, 0.99], reviews_per_day=1)
    assert found.decide(np.array([0.2, 0.3, 0.95])) == ["approve", "review", "decline"]


def test_ties_at_the_edge_do_not_exceed_the_budget():
    found = fit([0.1, 0.4, 0.4, 0.4, 0.5], reviews_per_day=2)
    assert found.review_probability == 0.5


def test_no_budget_reviews_nothing():
    found = fit([0.1, 0.5, 0.899], reviews_per_day=0)
    assert found.decide(np.array([0.1, 0.899, 0.9])) == ["approve", "approve", "decline"]


def test_a_budget_above_the_traffic_reviews_everything():
    found = fit([0.1, 0.5], reviews_per_day=10)
    assert found.decide(np.array([0.1, 0.5])) == ["review", "review"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.integers(0, 30), st.integers(1, 5))
def test_reviews_never_exceed_the_budget(probability, budget, days):
    found = fit(probability, days=days, reviews_per_day=budget)
    assert found.decide(np.array(probability)).count("review") <= budget * days


def test_fit_needs_days_and_rows():
    with pytest.raises(NotEnoughDataError):
        fit([0.5], days=0)
    with pytest.raises(NotEnoughDataError):
        fit([])


def test_json_round_trip_keeps_policy_and_digest():
    again = policy.from_json(POLICY.to_json(), path="here")
    assert again == POLICY
    assert again.digest == POLICY.digest


def test_another_threshold_is_another_digest_and_version():
    a, b = fit([0.1, 0.2], reviews_per_day=1), fit([0.1, 0.3], reviews_per_day=1)
    assert (a.digest, a.version) != (b.digest, b.version)
    assert fit([0.1, 0.2], reviews_per_day=1) == a


def test_other_format_version_is_refused():
    with pytest.raises(FormatVersionError, match="format_version 2"):
        policy.from_json({**POLICY.to_json(), "format_version": 2}, path="here")


@pytest.mark.parametrize(
    "change", [{"review_probability": 2.0}, {"decline_probability": "x"}, {"fallback": "no"}, {"more": 1}]
)
def test_damaged_policy_is_refused(change):
    with pytest.raises(BundleError, match=r"policy\.json"):
        policy.from_json({**POLICY.to_json(), **change}, path="here")
