"""Statistics are read off whole-number totals without losing a unit."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fraud.features.facts import NO_TEXT, pair_number, text_number
from fraud.features.statistics import NOTHING, PARTS, Stat, limbs, read, whole

MOST = 2**42
"""The largest whole attribute: 2**22 in units of 2**-20."""


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def moments(values: list[int], times: int = 1) -> dict:
    """The parts of one window that holds the values so many times."""
    column = ints(*values)
    parts = {
        "present": ints(times * len(values)),
        "total": ints(times * sum(values)),
    }
    squares = zip(("squares_high", "squares_mid", "squares_low"), limbs(column), strict=True)
    return parts | {name: ints(times * int(limb.sum())) for name, limb in squares}


def std(parts: dict, scale: float = 1.0) -> float:
    return float(read("std", parts, ints(0), scale=scale, empty=np.nan)[0])


@given(st.lists(st.integers(-MOST, MOST), max_size=20))
def test_limbs_hold_the_sum_of_squares(values):
    high, mid, low = (int(limb.sum()) for limb in limbs(ints(*values)))
    assert high * 2**42 + mid * 2**22 + low == sum(value * value for value in values)


@given(st.lists(st.integers(-MOST, MOST), min_size=1, max_size=20), st.sampled_from([1, 2, 1000]))
def test_deviation_is_that_of_exact_arithmetic(values, times):
    n = times * len(values)
    spread = n * times * sum(v * v for v in values) - (times * sum(values)) ** 2
    np.testing.assert_allclose(std(moments(values, times)), math.sqrt(spread) / n, rtol=1e-15)


@given(st.integers(-MOST, MOST), st.integers(1, 2**20))
def test_alike_values_deviate_by_exactly_nothing(value, times):
    assert std(moments([value], times)) == 0.0


@given(st.integers(-MOST, MOST - 1))
def test_one_unit_among_large_values_is_seen(value):
    assert std(moments([value, value + 1], 2**19)) == 0.5


def test_deviation_is_scaled_back_to_the_attribute():
    parts = moments(whole(np.array([0.25, 0.75])).tolist())
    assert std(parts, 2.0**-20) == 0.25
    assert read("mean", parts, ints(0), scale=2.0**-20, empty=0.0).tolist() == [0.5]


def test_attribute_is_rounded_to_a_millionth_and_kept_within_bounds():
    values = np.array([0.1, -1e300, np.inf, np.nan, 2.0**-21, 3 * 2.0**-21])
    assert whole(values).tolist() == [104858, -MOST, MOST, 0, 0, 2]


def test_window_without_values_gives_empty_but_a_count_gives_nothing():
    parts = {
        "count": ints(0),
        "distinct": ints(0),
        "seen": ints(0),
        "last": ints(NOTHING),
        "low": np.array([np.nan]),
        "high": np.array([np.nan]),
        **moments([]),
    }
    found = {stat: read(stat, parts, ints(0), scale=1.0, empty=-7.0)[0] for stat in get_args(Stat)}
    assert {stat for stat, value in found.items() if value == -7.0} == {
        "sum", "mean", "std", "min", "max", "seconds_since_last",
    }  # fmt: skip
    assert (found["count"], found["distinct"], found["first_time"]) == (0, 0, 1)


def test_first_time_is_missing_where_there_is_no_text():
    found = read("first_time", {"seen": ints(-1, 0, 3)}, ints(0, 0, 0), scale=1.0, empty=5.0)
    np.testing.assert_equal(found, [np.nan, 1.0, 0.0])


def test_seconds_keep_their_microseconds():
    last, now = ints(0, NOTHING), ints(1_500_001, 5)
    found = read("seconds_since_last", {"last": last}, now, scale=1.0, empty=np.nan)
    np.testing.assert_equal(found, [1.500001, np.nan])


def test_every_statistic_has_its_parts():
    assert set(PARTS) == set(get_args(Stat))


def test_numbers_of_texts_and_pairs_differ():
    a, b = (np.int64(text_number(text)) for text in ("a", "b"))
    assert text_number(None) == NO_TEXT != a != b
    assert len({int(pair_number(a, b)), int(pair_number(b, a)), int(pair_number(a, a)), int(a)}) == 4
    assert pair_number(ints(a), ints(b)).tolist() == [int(pair_number(a, b))]
