"""The compiled loops say what NumPy says in many passes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fraud.features import loops

TIME = st.integers(-20, 20)


def ints(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Where groups begin, and their ascending times."""
    groups = draw(st.lists(st.lists(TIME, max_size=8).map(sorted), max_size=5))
    begin = np.cumsum([0, *map(len, groups)])
    return begin, ints([time for group in groups for time in group])


@given(st.lists(st.integers(0, 6), max_size=30))
def test_stable_order_is_that_of_a_stable_sort(code):
    order, begin = loops.stable_order(ints(code), 7)
    np.testing.assert_array_equal(order, np.argsort(ints(code), kind="stable"))
    np.testing.assert_array_equal(begin, np.searchsorted(np.sort(ints(code)), np.arange(8)))


@given(grouped(), st.integers(0, 15))
def test_first_at_offset_stays_in_the_group(groups, offset):
    begin, times = groups
    group = np.repeat(np.arange(len(begin) - 1), np.diff(begin))
    expected = [
        begin[one] + np.searchsorted(times[begin[one] : begin[one + 1]], time + offset)
        for one, time in zip(group, times, strict=True)
    ]
    np.testing.assert_array_equal(loops.first_at_offset(begin, times, offset), expected)
    np.testing.assert_array_equal(loops.first_at(begin, times, group, times + offset), expected)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(-5, 5)), max_size=12))
def test_runs_are_counted_and_added_up_where_they_hold(runs):
    begin, length, values = ints(runs).reshape(-1, 3).T
    end = np.minimum(begin + length, 10)
    held = (begin[:, None] <= np.arange(10)) & (np.arange(10) < end[:, None])
    np.testing.assert_array_equal(loops.count_held(begin, end, 10), held.sum(0))
    np.testing.assert_array_equal(loops.add_held(begin, end, values, 10), values @ held)


def test_rows_with_a_negative_place_are_left_out():
    rows = np.zeros((2, 3))
    loops.put_rows(np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]), ints([1, -1, 0]), rows)
    assert rows.tolist() == [[3, 6, 9], [1, 4, 7]]


def test_columns_take_rows_at_their_places():
    columns = np.full((2, 3), np.nan)
    loops.put_columns(np.array([[1.0, 2], [3, 4]]), np.array([2, 0], np.int32), columns)
    np.testing.assert_array_equal(columns, [[3, np.nan, 1], [4, np.nan, 2]])


def test_hours_go_round_from_the_first_one():
    assert loops.hours(ints([-1, 0, 9, 10, 70]), 10, 2, 7).tolist() == [1, 2, 2, 3, 2]
