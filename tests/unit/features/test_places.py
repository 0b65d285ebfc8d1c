"""Places are those of a binary search, however the numbers lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.features.places import Places

numbers = st.lists(st.integers(0, 2**61) | st.integers(0, 5), min_size=1, max_size=60)


@given(numbers, numbers)
def test_place_is_that_of_the_first_number_at_or_after(present, wanted):
    ascending, asked = np.sort(np.array(present, np.int64)), np.array(wanted, np.int64)
    np.testing.assert_array_equal(Places.of(ascending).find(asked), np.searchsorted(ascending, asked))


@pytest.mark.parametrize("crowd", [1, 7, 8, 9, 10_000])
def test_numbers_that_crowd_in_one_bucket_are_found(crowd):
    ascending = np.append(np.full(crowd, 3), [4, 10**15])
    asked = np.array([0, 3, 4, 5, 10**15, 10**15 + 1])
    np.testing.assert_array_equal(Places.of(ascending).find(asked), np.searchsorted(ascending, asked))
