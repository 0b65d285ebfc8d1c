from __future__ import annotations

from fraud.jobs.failures import reason

BROKEN = RuntimeError(
    """Traceback (most recent call last):
  File "core.py", line 324, in _check_call
    raise XGBoostError(text)
xgboost.core.XGBoostError: [02:09:07] result.cc:78:
- [allreduce.cc:98|02:09:07]: Allreduce failed.
- [socket.h:79|02:09:07]: Connection reset by peer.
Stack trace:
  [bt] (0) libxgboost.so(+0x2c1a8c) [0x7f2d7b8c1a8c]
"""
)
LOST = RuntimeError("A worker health check failed.\nWorker info: Worker(actor=...)")


def test_the_lost_worker_is_named_before_those_that_waited_for_it() -> None:
    assert reason([BROKEN, LOST]) == "A worker health check failed"


def test_a_traceback_gives_its_last_words() -> None:
    assert reason([BROKEN]) == "[socket.h:79|02:09:07]: Connection reset by peer"
    assert (
        reason([RuntimeError("Traceback (most recent call last):\n  File x\nValueError: no")])
        == "ValueError: no"
    )


def test_an_error_without_words_is_empty() -> None:
    assert reason([RuntimeError()]) == ""
