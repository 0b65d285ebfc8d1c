from __future__ import annotations

import numpy as np
from factories_traffic import traffic


def test_days_without_any_count_as_none():
    # Day 10: 3, day 11: 0, day 12: 1.
    rows = traffic(day=[10, 10, 10, 12, 12])
    found = rows.per_day(np.array([True, True, True, True, False]))
    assert found.mean == 4 / 3
    assert found.p95 == np.percentile([3, 0, 1], 95)


def test_nothing_chosen_is_none_a_day():
    assert traffic(day=[10, 11]).per_day(np.zeros(2, bool)) == (0, 0)
    assert traffic(day=[]).per_day(np.zeros(0, bool)) == (0, 0)


def test_known_rows_keep_all_their_columns():
    rows = traffic(
        day=[1, 2, 3], amount=[10, 20, 30], is_known=[True, False, True], fraud_type=["a", "b", None]
    )
    kept = rows.known()
    assert kept.day.tolist() == [1, 3]
    assert kept.amount.tolist() == [10, 30]
    assert kept.fraud_type.to_pylist() == ["a", None]
    assert kept.is_known.all()
