from __future__ import annotations

from datetime import UTC, date, datetime
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.model import histogram
from fraud.model.histogram import Histogram
from fraud.monitor import drift
from fraud.monitor.drift import Drift

EDGES = (1.0, 2.0)
WEEK = date(2026, 3, 2)
COUNTS = st.tuples(*[st.integers(0, 1000)] * 4).filter(any)


def bins(*counts, missing=0):
    return Histogram(EDGES, counts, missing)


def test_psi_is_the_formula_worked_by_hand():
    # Shares 0.5, 0.3, 0.2 became 0.4, 0.3, 0.3.
    expected = (0.4 - 0.5) * log(0.4 / 0.5) + (0.3 - 0.2) * log(0.3 / 0.2)
    assert drift.psi(bins(50, 30, 20), bins(400, 300, 300)) == pytest.approx(expected)


def test_an_empty_bin_counts_as_the_floor():
    # Half of the rows moved into a bin that was empty.
    expected = (0.5 - 1e-4) * log(0.5 / 1e-4) + (0.5 - 1) * log(0.5 / 1)
    assert drift.psi(bins(100, 0, 0), bins(50, 50, 0)) == pytest.approx(expected)


def test_missing_values_are_a_bin():
    assert drift.psi(bins(50, 30, 20), bins(50, 30, 20, missing=100)) > 2
    assert drift.psi(bins(50, 30, 20, missing=5), bins(50, 30, 20, missing=5)) == 0


@given(COUNTS, COUNTS)
def test_psi_is_symmetric_finite_and_never_negative(a, b):
    one, other = (bins(*counts[:3], missing=counts[3]) for counts in (a, b))
    found = drift.psi(one, other)
    assert found == pytest.approx(drift.psi(other, one))
    assert 0 <= found < 20
    assert drift.psi(one, one) == 0


def test_the_same_distribution_is_hardly_ever_drift():
    rng = np.random.default_rng(3)
    reference = histogram.build(rng.normal(size=20_000))
    weeks = [histogram.count(rng.normal(size=drift.JUDGED_ROWS), reference.edges) for _ in range(500)]
    assert sum(drift.psi(reference, week) > 0.25 for week in weeks) <= 3


def test_a_shift_of_one_standard_deviation_is_drift():
    rng = np.random.default_rng(4)
    reference = histogram.build(rng.normal(size=20_000))
    moved = histogram.count(rng.normal(loc=1.0, size=1000), reference.edges)
    assert drift.compare(WEEK, "x", reference, moved).is_drifted(0.25)


def test_a_few_rows_are_not_judged():
    assert not Drift(WEEK, "x", 5.0, drift.JUDGED_ROWS - 1, 0.0).is_drifted(0.25)
    assert Drift(WEEK, "x", 0.26, drift.JUDGED_ROWS, 0.0).is_drifted(0.25)
    assert not Drift(WEEK, "x", 0.25, drift.JUDGED_ROWS, 0.0).is_drifted(0.25)


def test_the_newest_whole_week_is_judged():
    rows = [Drift(date(2026, 3, day), "x", 0.1, 500, 0.0) for day in (2, 9, 16)]
    assert drift.judged_week(rows, datetime(2026, 3, 18, tzinfo=UTC)) == date(2026, 3, 9)
    assert drift.judged_week(rows, datetime(2026, 3, 22, 1, tzinfo=UTC)) == date(2026, 3, 16)
    assert drift.judged_week(rows, datetime(2026, 3, 3, tzinfo=UTC)) is None
    assert drift.judged_week([], datetime(2026, 3, 3, tzinfo=UTC)) is None


def test_compare_states_rows_and_missing_share():
    found = drift.compare(WEEK, "x", bins(1, 1, 1), bins(1, 1, 1, missing=1))
    assert (found.rows, found.missing_share) == (4, 0.25)


def test_other_edges_or_no_rows_are_refused():
    with pytest.raises(ValueError, match="same edges"):
        drift.psi(bins(1, 1, 1), Histogram((5.0,), (1, 1), 0))
    with pytest.raises(ValueError, match="without rows"):
        drift.psi(bins(1, 1, 1), bins(0, 0, 0))
