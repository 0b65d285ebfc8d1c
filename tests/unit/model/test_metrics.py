from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.errors import NotEnoughDataError
from fraud.model.metrics import auc_roc, average_precision, card_precision_top_k, precision_recall_f1


def checks(rows: list[tuple[int, str | None, float, bool]], k: int):
    day, card, score, is_fraud = zip(*rows, strict=True)
    return card_precision_top_k(
        np.array(day, np.int32), pa.array(card, pa.string()), np.array(score), np.array(is_fraud), k
    )


def test_average_precision_by_hand():
    # Ranks: fraud, genuine, fraud: half the recall at precision 1, half at 2/3.
    assert average_precision(np.array([True, False, True]), np.array([0.9, 0.5, 0.1])) == pytest.approx(5 / 6)


def test_auc_counts_ordered_pairs():
    assert auc_roc(np.array([True, False, True, False]), np.array([0.9, 0.5, 0.1, 0.5])) == pytest.approx(0.5)


@pytest.mark.parametrize("metric", [average_precision, auc_roc])
@pytest.mark.parametrize("truth", [[], [False, False], [True, True]])
def test_one_class_alone_cannot_be_measured(metric, truth):
    with pytest.raises(NotEnoughDataError, match="take a period with frauds and genuine rows"):
        metric(np.array(truth, bool), np.zeros(len(truth)))


def test_alerts_by_hand():
    found = precision_recall_f1(np.array([True, True, False, False]), np.array([True, False, True, True]))
    assert found == pytest.approx((1 / 3, 1 / 2, 2 / 5))


def test_alerts_without_anything_to_divide_by_are_none():
    nothing, something = np.array([False]), np.array([True])
    assert precision_recall_f1(nothing, nothing) == (None, None, None)
    assert precision_recall_f1(something, nothing) == (None, 0.0, 0.0)
    assert precision_recall_f1(nothing, something) == (0.0, None, 0.0)


def test_card_takes_its_highest_score_and_any_fraud():
    # Card 1 is ranked by its genuine row, and is compromised by its other one.
    found = checks([(0, "1", 0.9, False), (0, "1", 0.1, True), (0, "2", 0.5, False)], k=1)
    assert found.mean == 1.0
    assert found.checked.tolist() == [True, True, False]


def test_detected_card_is_left_out_on_later_days():
    rows = [
        (0, "1", 0.9, True),
        (0, "2", 0.1, True),
        (1, "1", 0.9, True),
        (1, "2", 0.5, True),
        (2, "2", 0.9, True),
    ]
    found = checks(rows, k=1)
    assert found.days.tolist() == [0, 1]
    assert found.precision.tolist() == [1.0, 1.0]
    assert found.remaining.tolist() == [True, True, False, True, False]


def test_undetected_compromised_card_is_checked_again():
    found = checks(
        [(0, "1", 0.9, False), (0, "2", 0.1, True), (1, "1", 0.9, False), (1, "2", 0.1, True)], k=1
    )
    assert found.precision.tolist() == [0.0, 0.0]


def test_day_with_fewer_cards_still_divides_by_k():
    assert checks([(0, "1", 0.9, True)], k=4).mean == 0.25


def test_equal_scores_go_to_the_smaller_number_first():
    rows = [(0, "10", 0.5, False), (0, "9", 0.5, True)]
    assert checks(rows, k=1).mean == 1.0
    assert checks(rows[::-1], k=1).mean == 1.0


def test_equal_scores_of_many_cards_stay_in_order():
    # Few elements are sorted stably by any algorithm; two hundred of two scores are not.
    rows = [(0, str(card), 0.5 if card % 2 else 0.1, card in (1, 3, 5)) for card in range(200)]
    assert checks(rows, k=3).mean == 1.0


def test_rows_without_a_card_are_ignored():
    found = checks([(0, None, 1.0, True), (0, "1", 0.5, False)], k=1)
    assert found.mean == 0.0
    assert found.remaining.tolist() == [False, True]


def test_cards_are_required():
    with pytest.raises(NotEnoughDataError, match="card_id"):
        checks([(0, None, 1.0, True)], k=1)


def test_value_detected_leaves_cards_found_earlier_out():
    rows = [
        (0, "1", 0.9, True),
        (0, "2", 0.1, True),
        (1, "1", 0.9, True),
        (1, "3", 0.5, False),
        (1, "2", 0.1, True),
    ]
    amount = np.array([500, 100, 9999, 50, 400])
    is_fraud = np.array([row[3] for row in rows])
    # Day 0 finds card 1 (500 of 600); day 1 checks card 3 and misses card 2's 400.
    assert checks(rows, k=1).value_detected(amount, is_fraud) == 0.5
    assert checks(rows, k=1).value_detected(np.zeros(5, np.int64), is_fraud) is None


rows_of_days = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 12), st.sampled_from([0.1, 0.2, 0.3]), st.booleans()),
    min_size=1,
    max_size=40,
)


@given(rows_of_days, st.integers(1, 5))
def test_equals_plain_definition(rows, k):
    found, expected = set(), []
    for today in sorted({row[0] for row in rows}):
        cards: dict[int, tuple[float, bool]] = {}
        for day, card, score, is_fraud in rows:
            if day == today and card not in found:
                highest, compromised = cards.get(card, (0.0, False))
                cards[card] = (max(highest, score), compromised or is_fraud)
        if cards:
            top = sorted(cards, key=lambda card: (-cards[card][0], card))[:k]
            hits = {card for card in top if cards[card][1]}
            expected.append(len(hits) / k)
            found |= hits
    result = checks([(day, str(card), score, is_fraud) for day, card, score, is_fraud in rows], k)
    assert result.precision.tolist() == expected
