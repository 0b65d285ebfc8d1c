from __future__ import annotations

import logging
from typing import Any

import pytest

from serve_app.access_log import PER_SECOND, AccessLog


class Clock:
    now = 1.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> AccessLog:
    caplog.set_level(logging.INFO, logger="serve_app.access_log")
    return AccessLog(0.05, Clock())


def answer(log: AccessLog, **changes: Any) -> None:
    request = {"caller": "key-1", "status": 200, "seconds": 0.004, **changes}
    log.answered("r-1", "/v1/score", **request)


def test_an_ordinary_answer_leaves_no_line(log: AccessLog, caplog: pytest.LogCaptureFixture) -> None:
    answer(log)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("changes", "line", "fact"),
    [
        ({"status": 422, "code": "card_number"}, ("INFO", "request refused"), ("code", "card_number")),
        ({"status": 503, "code": "not_ready"}, ("WARNING", "request refused"), ("code", "not_ready")),
        ({"seconds": 0.0512}, ("INFO", "request slow"), ("latency_ms", 51.2)),
    ],
)
def test_what_an_operator_is_asked_about_leaves_a_line(
    log: AccessLog,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    line: tuple[str, str],
    fact: tuple[str, Any],
) -> None:
    answer(log, **changes)
    (record,) = caplog.records
    assert (record.levelname, record.message) == line
    facts = vars(record)
    assert facts[fact[0]] == fact[1]
    assert (facts["request_id"], facts["operation"], facts["caller"]) == ("r-1", "/v1/score", "key-1")


def test_a_request_without_a_score_leaves_a_line(log: AccessLog, caplog: pytest.LogCaptureFixture) -> None:
    log.degraded("r-1", caller="key-1", cause="state_busy", transactions=2)
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("WARNING", "request degraded")
    assert (vars(record)["cause"], vars(record)["transactions"]) == ("state_busy", 2)


def test_an_overload_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="serve_app.access_log")
    clock = Clock()
    log = AccessLog(0.05, clock)
    for _ in range(PER_SECOND + 30):
        answer(log, status=429, code="overloaded")
    assert len(caplog.records) == PER_SECOND
    clock.now += 1
    answer(log, status=429, code="overloaded")
    assert vars(caplog.records[-1])["left_out_before"] == 30
    answer(log, status=429, code="overloaded")
    assert "left_out_before" not in vars(caplog.records[-1])
