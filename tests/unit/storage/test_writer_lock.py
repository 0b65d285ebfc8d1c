"""The turn to write: one at a time, given back by the dead, taken from the stopped."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fraud.errors import StateBusyError
from fraud.storage import writer_lock
from fraud.storage.writer_lock import WriterLock

HOLDER = """
import os, sys, signal, time
from pathlib import Path
from fraud.storage.writer_lock import WriterLock
lock = WriterLock(Path(sys.argv[1]))
lock.take()
print("taken", flush=True)
time.sleep(60)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file"


@contextmanager
def holder(file: Path) -> Iterator[subprocess.Popen]:
    """Another process that has the turn."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, file], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"taken\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


async def taken(lock: WriterLock, wait_s: float) -> None:
    async with lock.turn(time.monotonic() + wait_s):
        pass


def test_a_turn_that_does_not_come_is_given_up_at_its_deadline(file: Path):
    with holder(file), pytest.raises(StateBusyError, match="same request again"):
        asyncio.run(asyncio.wait_for(taken(WriterLock(file), 0.05), 1))


def test_waiting_for_a_turn_lets_the_event_loop_go_on(file: Path):
    async def ticks() -> int:
        waiting = asyncio.create_task(taken(WriterLock(file), 0.2))
        count = 0
        while not waiting.done():
            await asyncio.sleep(0.001)
            count += 1
        assert isinstance(waiting.exception(), StateBusyError)
        return count

    with holder(file):
        assert asyncio.run(ticks()) > 20


def test_two_tasks_of_one_loop_have_one_turn_after_the_other(file: Path):
    lock, inside = WriterLock(file), []

    async def enter(name: str) -> None:
        async with lock.turn(time.monotonic() + 5):
            inside.append(name)
            await asyncio.sleep(0.01)
            inside.append(name)

    async def both() -> None:
        await asyncio.gather(enter("a"), enter("b"))

    asyncio.run(both())
    assert inside in (["a", "a", "b", "b"], ["b", "b", "a", "a"])


def test_threads_of_one_process_exclude_each_other(file: Path):
    lock, counts = WriterLock(file), [0]

    def add() -> None:
        for _ in range(50):
            lock.take()
            seen = counts[0]
            time.sleep(0)
            counts[0] = seen + 1
            lock.give_back()

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [150]


def test_a_thread_that_has_the_turn_has_it_for_everything(file: Path):
    lock = WriterLock(file)
    assert [lock.take(), lock.take()] == [True, False]
    lock.give_back()
    assert lock.take()


def test_the_turn_of_a_killed_process_is_free_at_once(file: Path):
    lock = WriterLock(file)
    with holder(file) as process:
        process.kill()
        assert seconds(lock.take) < 0.5


def test_a_stopped_holder_is_killed_within_two_seconds(file: Path):
    lock = WriterLock(file)
    with holder(file) as process:
        process.send_signal(signal.SIGSTOP)
        assert writer_lock.STOPPED_S < seconds(lock.take) < 2
        assert process.wait(1) == -signal.SIGKILL


def test_short_waits_one_after_the_other_find_a_stopped_holder_too(file: Path):
    lock, begun = WriterLock(file), time.monotonic()
    with holder(file) as process:
        process.send_signal(signal.SIGSTOP)
        while process.poll() is None and time.monotonic() - begun < 3:
            try:
                asyncio.run(taken(lock, 0.02))
            except StateBusyError:
                continue
        assert time.monotonic() - begun < 2


def test_a_holder_that_goes_on_in_time_is_left_alone(file: Path):
    lock = WriterLock(file)
    with holder(file) as process:
        for _ in range(2):
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(StateBusyError):
                asyncio.run(taken(lock, 0.7))
            process.send_signal(signal.SIGCONT)
            with pytest.raises(StateBusyError):
                asyncio.run(taken(lock, 0.3))
        assert process.poll() is None


def test_a_lock_that_nobody_has_any_more_closes_its_file(file: Path):
    lock = WriterLock(file)
    descriptor = Path(f"/proc/self/fd/{lock.descriptor}")
    assert descriptor.readlink() == file
    del lock
    assert not descriptor.exists() or descriptor.readlink() != file
