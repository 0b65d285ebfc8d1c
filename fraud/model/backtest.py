"""What a policy would have done on past transactions, and what that would have cost."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fraud.model import policy as policies
from fraud.model.policy import DECLINE, REVIEW, Policy
from fraud.model.traffic import Traffic
from fraud.settings import PolicySettings

_BUDGETS: Final = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
"""Of a grid, as multiples of the alert budget."""


def outcome(policy: Policy, traffic: Traffic) -> dict[str, Any]:
    """Return what decisions lead to, at the policy's own costs.

    Reviews and declines a day count all traffic; everything else is of the rows whose truth is known. A fraud
    that is reviewed or declined is caught. Without a model every transaction is approved.

    Returns:
        ``review_saving_minor``, ``reviews_per_day`` and ``declines_per_day`` (each ``mean`` and ``p95``),
        ``frauds``, ``frauds_caught``, ``fraud_value_caught`` (a share; None without fraud value),
        ``good_declined``, ``good_declined_per_fraud_caught`` (None where none is caught), ``cost_minor``,
        ``no_model_cost_minor`` and ``savings`` (1 - the one over the other; None where that is 0).
    """
    decided = np.array(policy.decide(traffic.probability, traffic.amount), np.str_)
    reviewed, declined = decided == REVIEW, decided == DECLINE
    fraud, genuine = traffic.is_fraud, traffic.is_known & ~traffic.is_fraud
    caught, refused = fraud & (reviewed | declined), int(np.count_nonzero(genuine & declined))
    loss = policy.costs.loss(traffic.amount)
    value, nothing_done = int(traffic.amount[fraud].sum()), float(loss[fraud].sum())
    cost = (
        float(loss[fraud & ~caught].sum())
        + int(np.count_nonzero(reviewed & traffic.is_known)) * policy.costs.review_cost_minor
        + refused * policy.costs.friction_cost_minor
    )
    frauds_caught = int(np.count_nonzero(caught))
    return {
        "review_saving_minor": policy.review_saving_minor,
        "reviews_per_day": traffic.per_day(reviewed)._asdict(),
        "declines_per_day": traffic.per_day(declined)._asdict(),
        "frauds": int(np.count_nonzero(fraud)),
        "frauds_caught": frauds_caught,
        "fraud_value_caught": int(traffic.amount[caught].sum()) / value if value else None,
        "good_declined": refused,
        "good_declined_per_fraud_caught": refused / frauds_caught if frauds_caught else None,
        "cost_minor": cost,
        "no_model_cost_minor": nothing_done,
        "savings": 1 - cost / nothing_done if nothing_done else None,
    }


def grid(settings: PolicySettings, traffic: Traffic, *, days: int) -> list[dict[str, Any]]:
    """Return the outcomes of thresholds from no review at all to all that save.

    The thresholds are those of alert budgets around the one of the settings, fitted to this traffic.

    Args:
        settings: Costs and the alert budget.
        traffic: Some days.
        days: Calendar days it spans.
    """
    budgets = sorted({round(share * max(settings.reviews_per_day, 10)) for share in _BUDGETS})
    found: dict[float | None, dict[str, Any]] = {}
    for budget in (*budgets, len(traffic.day)):
        asked = settings.model_copy(update={"reviews_per_day": budget})
        fitted = policies.fit(traffic.probability, traffic.amount, days=days, settings=asked)
        found.setdefault(fitted.review_saving_minor, outcome(fitted, traffic))
    return list(found.values())
