"""A batch is held against what its mapping expects of it as a whole."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fraud.errors import ExpectationError
from fraud.jobs.ingest_expectations import judge, volume_findings, volume_ratios
from fraud.jobs.ingest_outcome import Outcome
from fraud.jobs.ingest_slice import NewPart, Slicer, Written
from fraud.mapping.census import Census
from fraud.mapping.expect import Volume
from fraud.mapping.spec import Mapping
from fraud.money import rates
from fraud.settings import MoneySettings
from fraud.storage.lake import Lake, Part

NOW = datetime(2025, 1, 2, tzinfo=UTC)
MONDAY = date(2024, 6, 3)


def found(
    expect: dict[str, Any], *, ties: tuple[int, ...] = (1, 2), parts: bool = True, **census: Any
) -> list[Any]:
    """Judge a batch of one slice; it has new rows if ``parts``."""
    declared = {
        "format_version": 1,
        "name": "bank",
        "columns": {"transaction_id": "id", "event_time": "at", "amount": "sum"},
        "amount": {"currency": "EUR"},
        "entities": {"card_id": "card"},
        "expect": expect,
    }
    lake = Lake("/nowhere")
    slicer = Slicer(lake, Mapping.model_validate(declared), rates(MoneySettings()), "x", NOW, frozenset())
    part = Part("a", len(ties), 0, MONDAY)
    outcome = Outcome(slicer, ["f"], [], pa.table({}), parts=[part] if parts else [])
    new = NewPart("f", part, np.array(ties), np.arange(len(ties)))
    written = Written("f", parts=[new], census=Census(len(ties), **census))
    return [finding.report() for finding in judge(outcome, [written], None)]


def test_share_of_nulls_may_reach_its_limit():
    expect = {"max_null_share": {"card_id": 0.5}}
    assert found(expect, nulls=Counter(card_id=1)) == [
        {"expectation": "max_null_share", "column": "card_id", "found": 0.5, "limit": 0.5, "held": True}
    ]


def test_all_broken_expectations_are_told_with_what_was_expected_and_found():
    expect = {"max_null_share": {"card_id": 0.1}, "max_duplicate_share": 0.2, "freshness_s": 3600}
    long_before = int((NOW - timedelta(days=100)).timestamp()) * 1_000_000
    with pytest.raises(ExpectationError) as stopped:
        found(expect, ties=(7, 7, 8, 9), nulls=Counter(card_id=3), newest_us=long_before)
    assert list(stopped.value.broken) == [
        "card_id has no value in 0.75 of the rows, expected at most 0.1",
        "transaction_id is repeated in 0.25 of the rows, expected at most 0.2",
        "the newest event_time is 8640000 s old, expected at most 3600 s",
    ]
    assert "the mapping bank expects: card_id" in str(stopped.value)


def test_batch_that_brings_nothing_new_breaks_nothing():
    assert found({"freshness_s": 1}, parts=False, newest_us=0) == []


def test_volume_is_not_judged_where_too_little_is_known():
    assert found({"volume": {"min_ratio": 0.5}}) == [
        {"expectation": "volume.min_ratio", "column": "event_date", "found": None, "limit": 0.5, "held": True}
    ]


def weeks_before(*rows: int) -> Counter[date]:
    return Counter({MONDAY - timedelta(weeks=week): each for week, each in enumerate(rows, start=1)})


def test_volume_is_that_of_the_day_with_the_batch_over_the_median_of_its_weekday():
    before = weeks_before(100, 80, 300) + Counter({MONDAY: 20, MONDAY - timedelta(days=1): 5})
    volume = Volume(min_ratio=0.5, weeks=3, min_weeks=3)
    assert volume_ratios(Counter({MONDAY: 30}), before, volume) == {MONDAY: 0.5}


def test_weekdays_without_rows_and_older_weeks_are_not_known():
    volume = Volume(min_ratio=0.5, weeks=3, min_weeks=3)
    assert volume_ratios(Counter({MONDAY: 30}), weeks_before(100, 0, 100, 100), volume) == {}


def test_every_day_that_breaks_a_ratio_is_told_and_else_the_one_that_came_closest():
    ratios = {MONDAY: 0.4, MONDAY + timedelta(days=1): 0.5, MONDAY + timedelta(days=2): 0.3}
    low = volume_findings(ratios, Volume(min_ratio=0.45, max_ratio=2))
    assert [(each.column, each.held) for each in low] == [
        ("event_date=2024-06-05", False),
        ("event_date=2024-06-03", False),
        ("event_date=2024-06-04", True),
    ]
