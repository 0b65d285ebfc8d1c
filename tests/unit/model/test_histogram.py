from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fraud.model import histogram
from fraud.model.histogram import Histogram

EDGES = (-1.5, 0.0, 2.0)
NUMBERS = hnp.arrays(np.float64, st.integers(0, 60), elements=st.floats(width=32))
HUGE = hnp.arrays(np.float64, st.integers(0, 20), elements=st.floats(width=64))


def test_a_value_on_an_edge_falls_below_it():
    counted = histogram.count(np.array([-2.0, -1.5, -1.0, 0.0, 0.5, 2.0, 2.5]), EDGES)
    assert counted == Histogram(EDGES, (2, 2, 2, 1), 0)


def test_values_outside_go_to_the_outer_bins_and_nan_is_missing():
    counted = histogram.count(np.array([-np.inf, -1e300, 1e300, np.inf, np.nan]), EDGES)
    assert counted == Histogram(EDGES, (2, 0, 0, 2), 1)
    assert counted.rows == 5


def test_quantile_edges_share_the_values_equally():
    built = histogram.build(np.arange(1, 101, dtype=np.float64), bins=4)
    assert built == Histogram((25.0, 50.0, 75.0), (25, 25, 25, 25), 0)


def test_median_is_the_middle_value_of_what_was_counted():
    assert histogram.build(np.arange(1, 101, dtype=np.float64)).median == 50
    assert histogram.build(np.r_[np.zeros(60), np.arange(1, 41)]).median == 0
    assert histogram.build(np.full(10, 7.0)).median == 7
    assert histogram.build(np.r_[np.full(50, np.nan), np.arange(1, 51)]).median == 25


@pytest.mark.parametrize("values", [[], [np.nan, np.nan, 1.0], [np.nan]])
def test_median_is_missing_where_most_values_are(values):
    assert np.isnan(histogram.build(np.array(values, np.float64)).median)


def test_a_constant_column_shows_where_others_fall():
    built = histogram.build(np.full(10, 7.0))
    assert built.counts == (0, 10, 0)
    assert histogram.count(np.array([6.0, 7.0, 7.0, 8.0]), built.edges).counts == (1, 2, 1)


def test_a_rare_side_of_a_flag_keeps_its_own_bin():
    flags = np.array([0.0] * 2 + [1.0] * 98)
    assert histogram.build(flags).counts == (2, 98, 0)
    assert histogram.build(1 - flags).counts == (0, 98, 2)


def test_float32_and_float64_of_a_column_fall_into_the_same_bins():
    values = np.random.default_rng(5).choice([0.1, 0.7, 1 / 3, 12.34], size=500)
    built = histogram.build(values.astype(np.float32))
    assert histogram.count(values, built.edges) == built


@pytest.mark.parametrize("values", [np.empty(0), np.array([np.nan, np.nan]), np.array([np.inf, -np.inf])])
def test_a_column_without_numbers_has_one_bin(values):
    built = histogram.build(values)
    assert built.edges == ()
    assert built.rows == values.size
    assert built.missing == np.isnan(values).sum()


@given(NUMBERS | HUGE, st.integers(1, 30))
def test_every_value_is_counted_once(values, bins):
    built = histogram.build(values, bins)
    assert built.rows == values.size
    assert built.missing == np.isnan(values).sum()
    assert len(built.counts) <= 2 * bins


@given(NUMBERS)
def test_counts_are_those_of_a_plain_loop(values):
    counts = [0] * (len(EDGES) + 1)
    for value in values[~np.isnan(values)]:
        counts[sum(1 for edge in EDGES if value > edge)] += 1
    assert list(histogram.count(values, EDGES).counts) == counts


@given(NUMBERS, NUMBERS, NUMBERS)
def test_merged_parts_equal_the_whole(a, b, c):
    edges = histogram.build(a).edges
    parts = [histogram.count(part, edges) for part in (a, b, c)]
    whole = histogram.count(np.concatenate([a, b, c]), edges)
    assert histogram.add(histogram.add(parts[0], parts[1]), parts[2]) == whole
    assert histogram.add(parts[2], histogram.add(parts[1], parts[0])) == whole


@given(NUMBERS)
def test_json_gives_the_same_histogram_back(values):
    built = histogram.build(values)
    assert Histogram.from_json(json.loads(json.dumps(built.to_json()))) == built


def test_histograms_of_different_edges_are_not_added():
    with pytest.raises(ValueError, match="different edges"):
        histogram.add(Histogram((1.0,), (1, 1), 0), Histogram((2.0,), (1, 1), 0))


@pytest.mark.parametrize(
    "fields",
    [
        {"edges": [1.0], "counts": [1], "missing": 0},
        {"edges": [2.0, 1.0], "counts": [1, 1, 1], "missing": 0},
        {"edges": [float("nan")], "counts": [1, 1], "missing": 0},
        {"edges": [1.0], "counts": [1, -1], "missing": 0},
        {"edges": [1.0], "counts": [1, 1], "missing": -1},
    ],
)
def test_damaged_json_is_no_histogram(fields):
    with pytest.raises(ValueError, match=r"histogram|edges"):
        Histogram.from_json(fields)
