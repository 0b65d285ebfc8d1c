"""Joining Ray: wrong addresses are told at once, and our errors come out of Ray's wrappers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import head
from cluster.runtime import connect, find_ours
from cluster.settings import RaySettings
from fraud.errors import ClusterError, FraudError, SchemaError


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path) -> Iterator[None]:
    """A home without a token and no Ray variable; what joining sets is undone."""
    before = dict(os.environ)
    for variable in [variable for variable in before if variable.startswith("RAY_")]:
        del os.environ[variable]
    os.environ["HOME"] = str(tmp_path)
    yield
    os.environ.clear()
    os.environ.update(before)


class TaskError(Exception):
    """Like RayTaskError: holds the worker's error as ``cause``."""

    def __init__(self, cause: Exception) -> None:
        Exception.__init__(self, str(cause))
        self.cause = cause


class DualError(TaskError, SchemaError):
    """Like RayTaskError(SchemaError): is one, and holds the plain one."""

    def __str__(self) -> str:
        return "a long traceback"


class TrainingError(Exception):
    """Like Ray Train's: the failures by worker."""

    def __init__(self, failures: dict[int, Exception]) -> None:
        super().__init__("training failed")
        self.worker_failures = failures


def test_dead_address_is_told_within_a_second() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = time.monotonic()
    with (
        pytest.raises(ClusterError, match=f"no Ray answers at {address}"),
        connect(RaySettings(address=address), name="test"),
    ):
        pass
    assert time.monotonic() - started < 5


def test_listener_that_never_answers_is_told_after_the_timeout() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ClusterError, match="no Ray answers"),
    ):
        head.check(f"127.0.0.1:{silent.getsockname()[1]}", None, 0.3)


@pytest.mark.parametrize(
    "address", ["http://head:8265", "ray://head:10001", "head", "head:", ":6379", "head:ray"]
)
def test_address_of_another_form_is_told(address: str) -> None:
    with (
        pytest.raises(ClusterError, match="is not the address of a Ray head"),
        connect(RaySettings(address=address), name="test"),
    ):
        pass


def test_error_is_found_inside_a_task_error() -> None:
    ours = SchemaError("transactions", ["no column card_id"])
    assert find_ours(TaskError(ours)) is ours


def test_plain_error_is_preferred_to_its_dual() -> None:
    ours = SchemaError("transactions", ["no column card_id"])
    assert find_ours(DualError(ours)) is ours


def test_error_is_found_inside_a_training_error() -> None:
    ours = SchemaError("features", ["no column amount"])
    assert find_ours(TrainingError({0: ValueError("x"), 1: TaskError(ours)})) is ours


def test_error_is_found_as_the_cause() -> None:
    ours = FraudError("first")
    outer = RuntimeError("second")
    outer.__cause__ = ours
    assert find_ours(outer) is ours


def test_error_of_others_is_not_ours() -> None:
    assert find_ours(TaskError(ValueError("a programming error"))) is None


def test_error_that_was_dealt_with_before_is_not_raised_again() -> None:
    programming_error = KeyError("in the handler")
    programming_error.__context__ = FraudError("dealt with")
    assert find_ours(programming_error) is None
