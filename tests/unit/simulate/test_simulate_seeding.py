"""Streams equal the generators they stand for, and no two purposes share one."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.simulate.seeding import LARGEST_SEED, Purpose, numpy_stream, python_stream, python_words
from fraud.simulate.stream import _choices


def test_seed_zero_gives_the_published_streams():
    assert numpy_stream(Purpose.TRANSACTIONS, 17, 0).uniform() == np.random.RandomState(17).uniform()
    assert python_stream(Purpose.TRANSACTIONS, 17, 0).random() == random.Random(17).random()  # noqa: S311  the expected stream


@given(st.sampled_from(Purpose), st.integers(0, 2**31), st.integers(0, LARGEST_SEED))
def test_bulk_words_equal_pythons_words(purpose: Purpose, index: int, seed: int):
    one_by_one = python_stream(purpose, index, seed)
    in_bulk = python_words(purpose, index, seed).randint(0, 2**32, size=5, dtype=np.uint32)
    assert in_bulk.tolist() == [one_by_one.getrandbits(32) for _ in range(5)]


@given(st.integers(0, 10_000), st.integers(1, 300), st.integers(0, 50))
def test_bulk_choices_equal_pythons_choices(customer: int, options: int, count: int):
    generator = random.Random(customer)  # noqa: S311  the expected stream
    expected = [generator.choice(range(options)) for _ in range(count)]
    assert _choices(customer, options, count, seed=0).tolist() == expected


@pytest.mark.parametrize("seed", [1, LARGEST_SEED])
def test_no_two_purposes_share_a_stream(seed: int):
    streams = [numpy_stream(purpose, index, seed) for purpose in Purpose for index in range(3)]
    streams += [python_words(purpose, index, seed) for purpose in Purpose for index in range(3)]
    words = {tuple(stream.randint(0, 2**32, size=2, dtype=np.uint32).tolist()) for stream in streams}
    assert len(words) == len(streams)
