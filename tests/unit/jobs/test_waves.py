"""Waves hold every group once, and reach back as far as a window does."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fraud.jobs.feature_steps import File, Group
from fraud.jobs.waves import waves
from fraud.storage.lake import Part

FIRST = date(2024, 1, 1)
HISTORIES = st.integers(0, 40).map(lambda days: timedelta(days=days))


def group(days: list[int], rows: int, *, asked: bool = True) -> Group:
    parts = [Part(f"{day}.parquet", rows, 1, FIRST + timedelta(days=day)) for day in days]
    return Group(tuple(File(part, asked) for part in parts))


def daily(rows: list[int]) -> list[Group]:
    return [group([day], each) for day, each in enumerate(rows)]


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60), HISTORIES, st.integers(1, 50))
def test_every_asked_group_is_computed_once_and_in_order(days, history, least):
    groups = [group([day], rows, asked=asked) for day, (rows, asked) in enumerate(days)]
    found = list(waves(groups, history, rows=least))
    assert [n for wave in found for n in wave.asked(groups)] == [
        n for n, (_, asked) in enumerate(days) if asked
    ]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), HISTORIES, st.integers(1, 50))
def test_wave_reads_what_its_windows_reach_and_no_more_than_it_computes(rows, history, least):
    groups = daily(rows)
    for wave in waves(groups, history, rows=least):
        reached = FIRST + timedelta(days=wave.begin) - history
        assert groups[wave.first].first_day == max(reached, FIRST)
        if wave.end < len(groups):
            again = sum(each.rows for each in groups[wave.first : wave.begin])
            assert wave.rows(groups) >= 2 * again


def test_wave_does_not_part_a_day():
    groups = [group([0], 5), group([0], 5), group([0, 1], 5), group([2], 5)]
    assert [wave.end for wave in waves(groups, timedelta(0), rows=1)] == [3, 4]


def test_wave_begins_with_an_asked_group_and_reaches_back_from_there():
    groups = [group([day], 5, asked=day > 7) for day in range(10)]
    assert [(wave.first, wave.begin) for wave in waves(groups, timedelta(days=3), rows=5)] == [(5, 8)]


def test_days_apart_are_not_read_again():
    groups = [group([0], 5), group([90], 5)]
    assert [(wave.first, wave.begin) for wave in waves(groups, timedelta(days=30), rows=1)] == [
        (0, 0),
        (1, 1),
    ]
