"""Ids are text tokens, and never card numbers."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from fraud.mapping.ids import card_numbers, masked, read_ids, tie


def luhn_valid(prefix: str, length: int) -> str:
    """A number of that length with the check digit that makes it valid, by trial."""
    body = prefix.ljust(length - 1, "7")
    for digit in "0123456789":
        total = sum(
            int(each) if place % 2 == 0 else sum(map(int, str(2 * int(each))))
            for place, each in enumerate(reversed(body + digit))
        )
        if total % 10 == 0:
            return body + digit
    raise AssertionError


PANS = [
    luhn_valid("4", 16),
    luhn_valid("51", 16),
    luhn_valid("2221", 16),
    luhn_valid("37", 15),
    luhn_valid("4", 13),
]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([596, None], pa.int32()), ["596", None]),
        (pa.array([596.0, None]), ["596", None]),  # as data frames store ids where one is missing
        (pa.array([" c1 ", "", None]), ["c1", None, None]),
        (pa.array(["c1", "c1"]).dictionary_encode(), ["c1", "c1"]),
    ],
)
def test_ids_are_read_as_text(column: pa.Array, expected: list[str | None]):
    ids, invalid = read_ids(column, ("",))
    assert (ids.to_pylist(), invalid.any()) == (expected, False)


def test_numbers_that_lost_digits_are_no_ids():
    _, invalid = read_ids(pa.array([1.5, 2.0**60, float("inf"), 2.0**52]), ())
    assert invalid.tolist() == [True, True, True, False]
    _, invalid = read_ids(pa.array(["a\x00b", "a\nb", "1.5"]), ())
    assert invalid.tolist() == [True, True, False]


@pytest.mark.parametrize("pan", PANS)
@pytest.mark.parametrize("shape", ["{}", "card {} used", "{}x"])
def test_card_number_is_found_anywhere_in_a_value(pan: str, shape: str):
    grouped = "-".join(pan[start : start + 4] for start in range(0, len(pan), 4))
    found = card_numbers(pa.array([shape.format(pan), shape.format(grouped), "tok_1", None]))
    assert found.tolist() == [True, True, False, False]


def test_other_long_numbers_are_no_card_numbers():
    wrong_check = PANS[0][:-1] + str((int(PANS[0][-1]) + 1) % 10)
    found = card_numbers(pa.array([wrong_check, luhn_valid("9", 16), "4" * 12, luhn_valid("4", 20)]))
    assert not found.any()


def test_mask_leaves_no_long_digit_run():
    assert masked(f"a {PANS[0]} b 4111-1111-1111-1111 c 123456789012") == (
        f"a {'*' * 16} b {'*' * 19} c 123456789012"
    )


@given(st.lists(st.text(min_size=1), min_size=1))
def test_tie_is_the_signed_hash_of_the_bytes(ids: list[str]):
    expected = [int.from_bytes(xxhash.xxh3_64_digest(each.encode()), "big", signed=True) for each in ids]
    assert tie(pa.array(ids)).tolist() == expected


def test_uuids_and_hashes_are_no_card_numbers() -> None:
    rng = np.random.default_rng(3)
    ids = [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(20_000)]
    ids += [rng.bytes(32).hex() for _ in range(5_000)]
    assert not card_numbers(pa.array(ids)).any()
