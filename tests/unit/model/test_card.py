"""A version's description: what a reviewer asks first, and the newest report of the gate."""

from __future__ import annotations

import pytest
from factories_policy import make_policy
from factories_train import make_bundle

from fraud.model import card


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("card"), trained_d=14)


def test_the_card_says_what_made_the_model_and_what_it_does(bundle):
    page = card.text(bundle, make_policy("p7", review_saving_minor=1500.0), {"average_precision": 0.71234})
    for said in (
        "| trained on | 2026-03-01 up to, not including, 2026-03-12 |",
        "| calibrated on | 2026-03-12 up to, not including, 2026-03-15 |",
        "| average precision | 0.7123 |",
        "| AUC ROC | not told |",
        "`p7`, reviews that save more than 1,500 minor units",
        f"`{bundle.digest}`",
        bundle.feature_set.version,
        "transactions 3",
    ):
        assert said in page


def test_a_card_keeps_the_newest_report_only(bundle):
    page = card.text(bundle, make_policy("p7", review_saving_minor=None), {})
    assert "no reviews" in page
    first = card.with_report(page, "| first |")
    second = card.with_report(first, "| second |")
    assert second == f"{page}\n\n### Gate\n\n| second |"
    assert len(card.with_report(page, "x" * 9_000)) == 5_000
