"""Chores go on whatever happens, and say once what is wrong."""

from __future__ import annotations

import logging
from threading import Event

import pytest

from fraud.errors import ConfigError
from serve_app.chore import Chore


def repeat(outcomes: list[Exception | None]) -> None:
    """Run a chore that fails as told, and stop it after the last one."""
    stop, left = Event(), list(outcomes)

    def work() -> None:
        outcome = left.pop(0)
        if not left:
            stop.set()
        if outcome is not None:
            raise outcome

    Chore("ship", 0.001, work).repeat(stop)


def test_chore_goes_on_after_anything_that_goes_wrong(caplog: pytest.LogCaptureFixture) -> None:
    repeat([ConfigError("lake", "away"), ValueError("a bug"), None, None])
    assert [record.getMessage() for record in caplog.records] == [
        "ship: not done, tried again",
        "ship: failed, tried again",
        "ship: done again",
    ]


def test_same_problem_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    away = ConfigError("mlflow", "it does not answer")
    repeat([away, away, away, None, away])
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["ship: not done, tried again", "ship: done again", "ship: not done, tried again"]
    assert caplog.records[0].__dict__["reason"] == "mlflow: it does not answer"


def test_only_a_surprise_is_told_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    repeat([ConfigError("lake", "away"), ValueError("a bug"), None])
    traces = [record.exc_info is not None for record in caplog.records if record.levelno >= logging.WARNING]
    assert traces == [False, True, False]
