from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from fraud.monitor import performance
from fraud.monitor.performance import measure, merge, tally

WEEK = date(2026, 3, 2)
ROWS = st.lists(
    st.tuples(st.sampled_from([1, 0, 0, -1, -2]), st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9]), st.booleans()),
    max_size=40,
)


def tally_of(rows):
    truth, score, alerted = (np.array(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    return tally(np.asarray(truth, np.int8), np.asarray(score, np.float64), np.asarray(alerted, np.bool_))


def performance_of(rows):
    return measure(WEEK, "1", tally_of(rows))


def test_only_known_truth_is_measured():
    # fraud alerted, fraud missed, genuine alerted, genuine not; then two alerts nobody can judge
    rows = [
        (1, 0.9, True),
        (1, 0.2, False),
        (0, 0.8, True),
        (0, 0.1, False),
        (-1, 0.99, True),
        (-2, 0.99, True),
    ]
    found = performance_of(rows)
    assert (found.transactions, found.matured, found.unknown, found.unobservable) == (6, 4, 1, 1)
    assert (found.frauds, found.alerts) == (2, 2)
    assert (found.precision, found.recall, found.f1) == (0.5, 0.5, 0.5)
    # By score: fraud (1 of 1), genuine, fraud (2 of 3): 1/2 * 1 + 1/2 * 2/3.
    assert found.average_precision == pytest.approx(5 / 6)


def test_what_is_not_defined_is_none():
    no_alert = performance_of([(1, 0.9, False), (0, 0.1, False)])
    assert (no_alert.precision, no_alert.recall, no_alert.f1, no_alert.average_precision) == (
        None,
        0.0,
        0.0,
        1.0,
    )
    no_fraud = performance_of([(0, 0.9, True), (0, 0.1, False)])
    assert (no_fraud.precision, no_fraud.recall, no_fraud.f1) == (0.0, None, 0.0)
    assert no_fraud.average_precision is None
    nothing = performance_of([])
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.unknown_share) == (None, None, None, 0.0)


def test_measures_are_those_of_scikit_learn():
    rng = np.random.default_rng(11)
    fraud = rng.random(2000) < 0.1
    score = np.round(rng.normal(0.3 + 0.2 * fraud, 0.15), 2)
    found = measure(WEEK, "1", tally(fraud.astype(np.int8), score, score > 0.45))
    assert found.precision == pytest.approx(precision_score(fraud, score > 0.45))
    assert found.recall == pytest.approx(recall_score(fraud, score > 0.45))
    assert found.f1 == pytest.approx(f1_score(fraud, score > 0.45))
    assert found.average_precision == pytest.approx(average_precision_score(fraud, score))


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_days_merged_equal_the_week(days):
    whole = performance_of([row for day in days for row in day])
    assert measure(WEEK, "1", merge([tally_of(day) for day in days])) == whole
    assert measure(WEEK, "1", merge([tally_of(day) for day in reversed(days)])) == whole


def test_a_week_is_provisional_until_it_is_over_and_known():
    known = performance_of([(1, 0.9, True), (0, 0.1, False)])
    assert known.is_provisional(datetime(2026, 3, 7, 23, 59, tzinfo=UTC))
    assert not known.is_provisional(datetime(2026, 3, 8, tzinfo=UTC))
    open_week = performance_of([(1, 0.9, True), (-1, 0.1, False)])
    assert open_week.is_provisional(datetime(2027, 1, 1, tzinfo=UTC))
    assert open_week.unknown_share == 0.5


def test_a_tally_holds_distinct_scores_only():
    part = tally_of([(0, 0.5, False)] * 100 + [(1, 0.5, True)])
    assert (part.scores.tolist(), part.matured_at.tolist(), part.frauds_at.tolist()) == ([0.5], [101], [1])
    assert performance.merge([part, part]).matured_at.tolist() == [202]
