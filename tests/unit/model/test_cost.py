from __future__ import annotations

import numpy as np

from fraud.model.cost import Costs

COSTS = Costs(review_cost_minor=300, loss_share=0.8, fraud_cost_minor=1500, friction_cost_minor=4000)


def test_an_approved_fraud_costs_its_share_and_a_fee():
    # 0.8 * 10000 + 1500 = 9500
    assert COSTS.loss(np.array([10_000, 0])).tolist() == [9_500.0, 1_500.0]


def test_expected_costs_are_products():
    # 0.25 * 9500 = 2375; 0.75 * 4000 = 3000
    assert COSTS.approve(np.array([0.25]), np.array([10_000])).tolist() == [2_375.0]
    assert COSTS.decline(np.array([0.25])).tolist() == [3_000.0]
