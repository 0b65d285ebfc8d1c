from __future__ import annotations

import numpy as np
import pytest
from factories_traffic import traffic

from fraud.model.cost import Costs
from fraud.model.policy import Policy
from fraud.model.worth import alerted_at, worth

POLICY = Policy(
    version="1",
    costs=Costs(review_cost_minor=100, loss_share=1.0, fraud_cost_minor=0, friction_cost_minor=4000),
    review_saving_minor=0.0,
)


def test_alerts_stay_within_the_share_of_genuine_rows():
    score = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.5])
    is_fraud = np.array([True, False, True, True, False, False])
    assert alerted_at(is_fraud, score, false_positives=0.34).sum() == 4  # one of three genuine ones
    assert alerted_at(is_fraud, score, false_positives=0.33).tolist() == [True, *[False] * 5]


def test_recall_is_told_by_type_of_fraud():
    rows = traffic(
        score=[0.9, 0.2, 0.8, 0.7, *[0.5] * 100],
        is_fraud=[True, True, True, True, *[False] * 100],
        fraud_type=["theft", "theft", "test charge", None, *["theft"] * 100],
    )
    found = worth(rows, POLICY, k=1)
    assert found.figures["recall_1pct_fpr"] == 0.75
    assert found.recall_by_fraud_type == {"test charge": 1.0, "theft": 0.5}


def test_card_precision_stands_beside_the_best_possible():
    # Day 1 has one compromised card of three, day 2 two; two cards a day are checked.
    rows = traffic(
        day=[1, 1, 1, 2, 2, 2],
        card=["a", "b", "c", "d", "e", "f"],
        score=[0.1, 0.9, 0.8, 0.9, 0.8, 0.1],
        is_fraud=[True, False, False, True, False, True],
        amount=[100, 100, 100, 300, 100, 100],
    )
    figures = worth(rows, POLICY, k=2).figures
    assert figures["card_precision_2"] == 0.25  # none, then one of two
    assert figures["card_precision_2_ceiling"] == 0.75
    assert figures["value_detected_2"] == pytest.approx(300 / 500)


def test_without_cards_there_are_no_card_figures():
    figures = worth(traffic(score=[0.1, 0.9], is_fraud=[False, True]), POLICY, k=3).figures
    assert (
        figures["card_precision_3"]
        is figures["card_precision_3_ceiling"]
        is figures["value_detected_3"]
        is None
    )


def test_savings_are_those_of_the_policy():
    # One fraud is reviewed for 100, the other is lost, of 2000.
    rows = traffic(amount=[1_000, 1_000, 1], probability=[0.4, 0.0, 0.0], is_fraud=[True, True, False])
    assert worth(rows, POLICY, k=1).figures["savings"] == pytest.approx(1 - 1_100 / 2_000)
