"""The scheduler starts each tick once per attempt, whoever runs it and whenever it is killed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cluster import scheduler
from cluster.schedules import Schedule, load
from fraud import schema
from fraud.errors import ClusterError, DeclarationError
from fraud.storage.lake import Lake

COMMANDS = ("featurize", "score", "monitor")


class Cluster:
    """A cluster that remembers its jobs by id, and may be away or lose its answer."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        self.started: list[str] = []
        self.away = False
        self.dies_after_start = False

    def start(self, submission_id: str, commands: tuple[str, ...]) -> None:
        if self.away:
            raise ClusterError("the cluster does not answer")
        if commands == ("refused",):
            raise ClusterError("the job is refused")
        if submission_id not in self.jobs:
            self.jobs[submission_id] = "RUNNING"
            self.started.append(submission_id)
        if self.dies_after_start:
            raise KeyboardInterrupt

    def status(self, submission_id: str) -> str | None:
        if self.away:
            raise ClusterError("the cluster does not answer")
        return self.jobs.get(submission_id)

    def stop(self, submission_id: str) -> None:
        self.jobs[submission_id] = "STOPPED"


def at(day: int, hour: int = 2) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def look(lake: Lake, cluster: Cluster, now: datetime, **changes: Any) -> list[str]:
    schedules = {"daily": Schedule(cron="0 2 * * *", commands=("score",), **changes)}
    return [each["status"] for each in scheduler.once(schedules, lake, cluster, now=now, late_s=300)]


def test_a_schedule_counts_from_when_it_is_first_seen(lake: Lake):
    cluster = Cluster()
    assert look(lake, cluster, at(1, 9)) == ["seen"]
    assert look(lake, cluster, at(1, 10)) == []
    assert look(lake, cluster, at(2)) == ["submitted"]
    assert cluster.started == ["daily-20260302T0200Z-1"]


def test_a_tick_is_started_once_though_two_schedulers_look(lake: Lake):
    cluster = Cluster()
    look(lake, cluster, at(1, 9))
    look(lake, cluster, at(2))
    look(Lake(lake.uri), cluster, at(2))
    assert len(cluster.started) == 1


def test_a_scheduler_killed_between_start_and_note_starts_nothing_twice(lake: Lake):
    cluster = Cluster()
    look(lake, cluster, at(1, 9))
    cluster.dies_after_start = True
    with pytest.raises(KeyboardInterrupt):
        look(lake, cluster, at(2))
    cluster.dies_after_start = False
    assert look(lake, cluster, at(2)) == ["submitted"]
    assert len(cluster.started) == 1


def test_the_attempt_grows_only_after_a_job_that_failed_or_was_stopped(lake: Lake):
    cluster = Cluster()
    look(lake, cluster, at(1, 9))
    look(lake, cluster, at(2))
    assert look(lake, cluster, at(2, 3)) == []
    cluster.jobs["daily-20260302T0200Z-1"] = "FAILED"
    assert look(lake, cluster, at(2, 4)) == ["failed", "submitted"]
    cluster.jobs.clear()  # the cluster was started anew and knows no job
    assert look(lake, cluster, at(2, 5)) == ["stopped", "submitted"]
    cluster.jobs["daily-20260302T0200Z-3"] = "SUCCEEDED"
    assert look(lake, cluster, at(2, 6)) == ["succeeded"]
    assert [job[-2:] for job in cluster.started] == ["-1", "-2", "-3"]


def test_a_job_is_stopped_in_favour_of_the_next_where_the_schedule_says_so(lake: Lake):
    cluster = Cluster()
    look(lake, cluster, at(1, 9))
    look(lake, cluster, at(2), overlap="replace")
    assert look(lake, cluster, at(3), overlap="replace") == ["replaced", "submitted"]
    assert cluster.jobs == {"daily-20260302T0200Z-1": "STOPPED", "daily-20260303T0200Z-1": "RUNNING"}


def test_all_missed_ticks_are_made_up_for_one_after_the_other(lake: Lake):
    cluster = Cluster()
    look(lake, cluster, at(1, 9))
    for _ in range(4):
        look(lake, cluster, at(4, 9), catch_up="all")
        cluster.jobs = dict.fromkeys(cluster.jobs, "SUCCEEDED")
    assert [job[6:14] for job in cluster.started] == ["20260302", "20260303", "20260304"]


def test_a_cluster_that_is_away_loses_no_tick(lake: Lake):
    cluster = Cluster()
    look(lake, cluster, at(1, 9))
    cluster.away = True
    with pytest.raises(ClusterError):
        look(lake, cluster, at(2))
    cluster.away = False
    assert look(lake, cluster, at(2, 3)) == ["submitted"]


def test_a_job_that_cannot_be_started_keeps_no_other_schedule_waiting(lake: Lake):
    cluster = Cluster()
    schedules = {
        name: Schedule(cron="0 2 * * *", commands=(command,))
        for name, command in (("bad", "refused"), ("good", "score"))
    }
    scheduler.once(schedules, lake, cluster, now=at(1, 9), late_s=300)
    with pytest.raises(ClusterError, match="refused"):
        scheduler.once(schedules, lake, cluster, now=at(2), late_s=300)
    assert cluster.started == ["good-20260302T0200Z-1"]


def test_a_listing_shows_the_last_run_and_the_next_times(lake: Lake):
    cluster = Cluster()
    look(lake, cluster, at(1, 9))
    look(lake, cluster, at(2))
    schedules = {"daily": Schedule(cron="0 2 * * *", zone="Asia/Kathmandu", commands=("score",))}
    (row,) = scheduler.listing(schedules, lake, at(2, 3))
    assert row["last"]["job"] == "daily-20260302T0200Z-1"
    assert row["next"][0] == "2026-03-03T02:00:00+05:45"
    assert lake.read(schema.SCHEDULE_RUNS).num_rows == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cron: 61 * * * *", "is no cron line: bad minute"),
        ("cron: 0 2 * * *, zone: Europe/Berln", "there is no time zone 'Europe/Berln'"),
        ("cron: 0 2 * * *, overlapp: forbid", "overlapp"),
        ("cron: 0 2 * * *, overlap: replace, catch_up: all", "each missed job would be stopped"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused_by_name(tmp_path: Path, line: str, said: str):
    fields = "\n".join(f"    {field.strip()}" for field in line.split(", "))
    file = tmp_path / "mine.yaml"
    file.write_text(f"format_version: 1\nschedules:\n  daily:\n    commands: [score]\n{fields}\n")
    with pytest.raises(DeclarationError, match=said):
        load(file, COMMANDS)


def test_a_misspelt_command_is_found_before_it_is_due(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "format_version: 1\nschedules:\n  daily:\n    cron: '0 2 * * *'\n    commands: [featurise]\n"
    )
    with pytest.raises(DeclarationError, match=r"no command 'featurise', did you mean featurize\?"):
        load(file, COMMANDS)
