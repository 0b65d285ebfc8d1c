from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from serve_app.review_budget import ReviewBudget

DAY = 86_400.0


class Clock:
    def __init__(self, now: float = 20_000 * DAY) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_no_more_reviews_are_taken_than_a_day_has(tmp_path: Path) -> None:
    budget = ReviewBudget(tmp_path)
    assert [budget.take(3) for _ in range(5)] == [True, True, True, False, False]
    assert budget.given() == 3


def test_reviews_of_scored_transactions_use_the_budget_up(tmp_path: Path) -> None:
    budget = ReviewBudget(tmp_path)
    budget.count(2)
    budget.count()
    assert [budget.take(4), budget.take(4)] == [True, False]
    budget.count()  # a score is reviewed whatever was given
    assert budget.given() == 5


def test_no_budget_gives_no_review(tmp_path: Path) -> None:
    assert not ReviewBudget(tmp_path).take(0)


def test_a_larger_budget_holds_at_once(tmp_path: Path) -> None:
    budget = ReviewBudget(tmp_path)
    assert [budget.take(1), budget.take(1), budget.take(2)] == [True, False, True]


def test_the_next_day_in_utc_begins_anew(tmp_path: Path) -> None:
    clock = Clock(20_000 * DAY + DAY - 1)
    budget = ReviewBudget(tmp_path, clock)
    assert [budget.take(1), budget.take(1)] == [True, False]
    clock.now += 1
    assert [budget.take(1), budget.take(1)] == [True, False]


def test_days_before_yesterday_leave_no_file(tmp_path: Path) -> None:
    clock = Clock()
    budget = ReviewBudget(tmp_path, clock)
    for _ in range(4):
        budget.count()
        clock.now += DAY
    assert len(list(tmp_path.iterdir())) == 2


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    before = ReviewBudget(tmp_path)
    before.count(2)
    before.close()
    assert [ReviewBudget(tmp_path).take(3), ReviewBudget(tmp_path).take(3)] == [True, False]


def test_where_nothing_can_be_counted_nothing_is_reviewed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    budget = ReviewBudget(tmp_path / "file")
    budget.count()
    assert not budget.take(10)
    assert budget.given() == 0


def _take_all(folder: Path, told: Connection) -> None:
    budget = ReviewBudget(folder)
    told.send("ready")
    told.recv()
    told.send(sum(budget.take(1_000) for _ in range(1_500)))


def test_processes_that_take_at_once_get_exactly_the_budget(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    for _ in range(3):
        here, there = context.Pipe()
        processes.append(context.Process(target=_take_all, args=(tmp_path, there)))
        processes[-1].start()
        ends.append(here)
    for here in ends:
        assert here.recv() == "ready"
    for here in ends:
        here.send("go")
    taken = [here.recv() for here in ends]
    for process in processes:
        process.join()
    assert sum(taken) == 1_000


def _take_for_ever(folder: Path) -> None:
    budget = ReviewBudget(folder)
    while True:
        budget.take(10**9)


@pytest.mark.parametrize("seed", range(3))
def test_a_stopped_process_holds_nobody_up(tmp_path: Path, seed: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_take_for_ever, args=(tmp_path,))
    process.start()
    try:
        while not ReviewBudget(tmp_path).given():
            time.sleep(0.01)
        time.sleep(0.007 * seed)
        os.kill(process.pid or 0, signal.SIGSTOP)
        budget, begun = ReviewBudget(tmp_path), time.monotonic()
        assert all(budget.take(10**9) for _ in range(100))
        assert time.monotonic() - begun < 1
    finally:
        process.kill()
        process.join()
