"""The same transaction from the endpoint and from a file: what counts as the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from factories import transaction_table
from factories_journal import NOON

from fraud.jobs import known
from fraud.jobs.known import compare
from fraud.schema import ENDPOINT

POSTED = {"ingest_id": f"{ENDPOINT}segment"}
DECLINED = {"status": "declined", "status_time": NOON}


def second_is(first: dict[str, Any], second: dict[str, Any]) -> str:
    rows = [{"transaction_id": "a", "event_time": NOON, **each} for each in (first, second)]
    origin, equal = compare(pa.concat_tables([transaction_table([row]) for row in rows]))
    repeated = origin != np.arange(len(origin))
    assert repeated.tolist() == [False, True]
    return "equal" if equal[1] else "conflict"


@pytest.mark.parametrize(
    ("posted", "said", "found"),
    [
        ({}, {}, "equal"),
        ({}, {"status": "approved"}, "equal"),
        ({}, {"status": "reversed", "status_time": NOON}, "equal"),
        (DECLINED, {}, "equal"),
        (DECLINED, {"status": "declined"}, "equal"),
        (DECLINED, {"status": "approved"}, "conflict"),
        ({}, {"amount_minor": 7}, "conflict"),
        (DECLINED, {"card_id": "other"}, "conflict"),
    ],
)
def test_a_file_after_the_endpoint(posted: dict[str, Any], said: dict[str, Any], found: str):
    assert second_is({**POSTED, **posted}, said) == found


@pytest.mark.parametrize(
    ("said", "posted", "found"),
    [
        ({}, {}, "equal"),
        ({"status": "approved"}, {}, "equal"),
        ({"status": "approved"}, DECLINED, "equal"),
        ({}, DECLINED, "equal"),
        ({"amount_minor": 7}, {}, "conflict"),
    ],
)
def test_the_endpoint_after_a_file(said: dict[str, Any], posted: dict[str, Any], found: str):
    assert second_is(said, {**POSTED, **posted}) == found


@pytest.mark.parametrize("changes", [{"status": "approved"}, {"status_time": NOON}])
def test_between_files_every_word_counts(changes: dict[str, Any]):
    assert second_is({}, changes) == "conflict"


@pytest.mark.parametrize("bits", [1, 4, 27])
def test_marks_sort_out_no_tie_that_is_sought(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_MOST_BITS", bits)
    rng = np.random.default_rng(5)
    new = [rng.integers(-50, 50, 30), rng.integers(-50, 50, 1), np.empty(0, np.int64)]
    old = np.concatenate([rng.integers(-100, 100, 300), [2**63 - 1, -(2**63)]])
    sought = known.Sought(new)
    assert sorted(sought.among(old)) == sorted(old[np.isin(old, np.concatenate(new))])
    values, counts = np.unique(np.concatenate(new), return_counts=True)
    assert set(sought.twice()) == set(values[counts > 1])
    assert known.Sought([]).among(old).tolist() == []
