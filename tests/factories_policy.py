"""A policy for tests that are about something else."""

from __future__ import annotations

from typing import Any

from fraud.model.cost import Costs
from fraud.model.policy import Policy

COSTS = Costs(review_cost_minor=100, loss_share=1.0, fraud_cost_minor=0, friction_cost_minor=5000)


def make_policy(version: str, **changes: Any) -> Policy:
    """Review what saves anything, at costs that let a small amount pass and decline a sure fraud."""
    return Policy(**{"version": version, "costs": COSTS, "review_saving_minor": 0.0, **changes})
