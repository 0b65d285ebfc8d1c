"""What is due follows from a schedule, its past and the time alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cluster.due import (
    FAILED,
    REPLACED,
    SEEN,
    STOPPED,
    SUBMITTED,
    SUCCEEDED,
    Run,
    Skip,
    Start,
    decide,
    upcoming,
)
from cluster.schedules import Schedule

LATE = timedelta(minutes=5)


def at(day: int, hour: int = 2, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def daily(**changes: object) -> Schedule:
    return Schedule(**({"cron": "0 2 * * *", "commands": ("score",)} | changes))


def after(status: str, *, attempt: int = 1) -> Run:
    return Run(at(1), attempt, status)


def test_nothing_is_due_before_the_first_tick_that_was_watched():
    assert decide(daily(), Run(at(1, 3), 0, SEEN), at(2, 1, 59), late=LATE) is None


def test_a_tick_starts_when_it_comes_and_once():
    assert decide(daily(), after(SUCCEEDED), at(2), late=LATE) == Start(at(2), 1)
    assert decide(daily(), Run(at(2), 1, SUBMITTED), at(2, 3), late=LATE) is None


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [("none", Skip(at(4))), ("latest", Start(at(4), 1)), ("all", Start(at(2), 1))],
)
def test_of_the_ticks_that_were_missed_the_policy_says_which_are_made_up_for(
    catch_up: str, expected: Start | Skip
):
    assert decide(daily(catch_up=catch_up), after(SUCCEEDED), at(4, 2, 6), late=LATE) == expected


def test_a_tick_of_this_moment_was_not_missed():
    assert decide(daily(catch_up="none"), after(SUCCEEDED), at(4, 2, 5), late=LATE) == Start(at(4), 1)


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_a_tick_waits_for_the_job_before_it(catch_up: str):
    schedule = daily(catch_up=catch_up)
    assert decide(schedule, after(SUBMITTED), at(3, 9), late=LATE) is None
    assert decide(schedule, after(SUCCEEDED), at(3, 9), late=LATE) is not None


def test_a_tick_replaces_the_job_before_it_where_it_may():
    schedule = daily(overlap="replace")
    assert decide(schedule, after(SUBMITTED), at(2), late=LATE) == Start(at(2), 1, after(SUBMITTED))
    assert decide(schedule, after(REPLACED), at(1, 9), late=LATE) is None


def test_a_running_job_is_not_lost_sight_of_for_a_tick_that_is_let_go():
    schedule = daily(overlap="replace", catch_up="none")
    assert decide(schedule, after(SUBMITTED), at(2, 9), late=LATE) is None


@pytest.mark.parametrize("status", [FAILED, STOPPED])
def test_a_job_that_failed_is_started_again_until_its_attempts_are_used_up(status: str):
    assert decide(daily(), after(status), at(1, 3), late=LATE) == Start(at(1), 2)
    assert decide(daily(), after(status, attempt=2), at(1, 3), late=LATE) == Start(at(1), 3)
    assert decide(daily(), after(status, attempt=3), at(1, 3), late=LATE) is None


def test_a_newer_tick_comes_before_another_attempt_unless_all_are_made_up_for():
    assert decide(daily(), after(FAILED), at(2), late=LATE) == Start(at(2), 1)
    every = daily(catch_up="all")
    assert decide(every, after(FAILED), at(2), late=LATE) == Start(at(1), 2)
    assert decide(every, after(FAILED, attempt=3), at(2), late=LATE) == Start(at(2), 1)


def test_ticks_follow_the_clock_of_their_zone_through_its_changes():
    # Berlin enters summer time on 2026-03-29 at 02:00: 02:30 does not exist, 03:00 is the first that does.
    schedule = daily(cron="30 2 * * *", zone="Europe/Berlin")
    shown = [f"{tick:%d %H:%M %z}" for tick in upcoming(schedule, at(27, 23), 3)]
    assert shown == ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]
    # It leaves it on 2026-10-25 at 03:00: 02:30 comes twice and is taken once.
    autumn = [f"{tick:%d %H:%M}" for tick in upcoming(schedule, datetime(2026, 10, 24, tzinfo=UTC), 3)]
    assert autumn == ["24 02:30", "25 02:30", "26 02:30"]
