"""Many texts at once have the hashes that the library gives each of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from fraud import schema
from fraud.xxh3 import hashes

NULL = -7


def signed(text: str | None) -> int:
    if text is None:
        return NULL
    return int(np.uint64(xxhash.xxh3_64_intdigest(text.encode())).astype(np.int64))


@given(st.lists(st.none() | st.text(max_size=100), max_size=20))
def test_hashes_are_those_of_the_library(texts):
    assert hashes(pa.array(texts, pa.string()), null=NULL).tolist() == [signed(text) for text in texts]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 240, 1000])
def test_every_length_takes_the_right_path(size):
    texts = ["ab\x00ü7"[place % 5] * size for place in range(5)]
    assert hashes(pa.array(texts), null=NULL).tolist() == [signed(text) for text in texts]


def test_chunks_and_slices_are_hashed_in_order():
    texts = [None, "c1", "", "card-000000000000000000000002", "c3"]
    whole = pa.array(texts)
    cut = pa.chunked_array([whole[:2], whole[2:2], whole[2:]])
    assert hashes(cut, null=NULL).tolist() == [signed(text) for text in texts]
    assert hashes(whole[3:], null=NULL).tolist() == [signed(text) for text in texts[3:]]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view()])
def test_texts_of_other_types_have_the_same_hashes(kind):
    texts = ["card-1", None, "card-000000000000000000000002"]
    assert hashes(pa.array(texts, kind), null=NULL).tolist() == [signed(text) for text in texts]


def test_missing_texts_without_a_type_are_missing():
    assert hashes(pa.nulls(3), null=NULL).tolist() == [NULL] * 3


def test_no_texts_have_no_hashes():
    for none in (pa.array([], pa.string()), pa.chunked_array([], pa.string())):
        assert hashes(none, null=NULL).tolist() == []


def test_many_and_one_agree():
    assert hashes(pa.array(["tx-1"]), null=NULL).tolist() == [schema.tie("tx-1")]
