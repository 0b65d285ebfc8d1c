"""The store of the online state: transactions that are whole, and shared by processes."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fraud.errors import ConfigError
from fraud.features.layout import Layout
from fraud.features.online import OnlineTransaction
from fraud.features.past import Pages
from fraud.features.spec import load_text
from fraud.storage import state_store
from fraud.storage.state import OnlineState, create, empty
from fraud.storage.state_store import LmdbStore

WINDOW = "{window: card_id, stats: [count], spans: [9d]}"
FEATURES = load_text(f"{{format_version: 1, name: x, time_zone: UTC, features: [{WINDOW}]}}", "x")
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> LmdbStore:
    (tmp_path / "store").mkdir()
    return LmdbStore(tmp_path / "store", create=True)


def test_work_that_raises_writes_nothing(store: LmdbStore):
    def work(pages: Pages) -> None:
        pages.put(b"a", b"1")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.transact(work)
    assert store.read(lambda pages: pages.get(b"a")) is None


def test_work_reads_what_it_wrote_and_what_it_deleted(store: LmdbStore):
    store.transact(lambda pages: pages.put(b"a", b"1"))

    def work(pages: Pages) -> list[bytes | None]:
        pages.put(b"b", b"2")
        pages.delete(b"a")
        pages.delete(b"never")
        return [pages.get(b"a"), pages.get(b"b")]

    assert store.transact(work) == [None, b"2"]
    assert store.read(lambda pages: (pages.get(b"a"), pages.get(b"b"))) == (None, b"2")


def test_a_scan_gives_a_range_in_order_however_long_it_is(store: LmdbStore, monkeypatch):
    monkeypatch.setattr(state_store, "_SCANNED", 7)
    items = [(bytes((1, number)), b"x") for number in range(100)]
    store.load([(b"\0", b""), *items, (b"\2", b"")])
    assert list(store.scan(b"\1", b"\2")) == items


def test_loaded_pages_are_full(store: LmdbStore):
    items = [(number.to_bytes(9, "big"), b"x" * 16) for number in range(100_000)]
    store.load(items)
    assert store.used_bytes() / len(items) < 40


def test_a_copy_is_a_store_of_its_own(store: LmdbStore, tmp_path: Path):
    store.transact(lambda pages: pages.put(b"a", b"1"))
    store.copy(tmp_path / "copy")
    store.transact(lambda pages: pages.put(b"a", b"2"))
    copy = LmdbStore(tmp_path / "copy")
    assert copy.read(lambda pages: pages.get(b"a")) == b"1"


def test_a_store_that_is_not_there_is_not_made_by_opening(tmp_path: Path):
    with pytest.raises(ConfigError, match="fraud state build"):
        LmdbStore(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_opened_twice_is_one_file(store: LmdbStore, tmp_path: Path):
    again = LmdbStore(tmp_path / "store")
    store.transact(lambda pages: pages.put(b"a", b"1"))
    store.close()
    assert again.read(lambda pages: pages.get(b"a")) == b"1"


def test_a_store_put_in_the_place_of_an_open_one_is_another(store: LmdbStore, tmp_path: Path):
    store.transact(lambda pages: pages.put(b"a", b"1"))
    (tmp_path / "store").rename(tmp_path / "old")
    (tmp_path / "store").mkdir()
    assert LmdbStore(tmp_path / "store", create=True).read(lambda pages: pages.get(b"a")) is None
    assert LmdbStore(tmp_path / "old").read(lambda pages: pages.get(b"a")) == b"1"


WRITER = """
import os, signal, sys
from pathlib import Path
from fraud.storage.state_store import LmdbStore
def work(pages):
    pages.put(b"torn", b"1")
    os.write(1, b"inside\\n")
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
LmdbStore(Path(sys.argv[1])).transact(work)
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
def test_a_writer_lost_inside_a_transaction_is_survived_within_two_seconds(
    store: LmdbStore, tmp_path: Path, how: str
):
    store.transact(lambda pages: pages.put(b"a", b"1"))
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path / "store", how], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"inside\n"
    begun = time.monotonic()
    assert store.transact(lambda pages: (pages.get(b"a"), pages.get(b"torn"))) == (b"1", None)
    assert time.monotonic() - begun < 2
    assert process.wait(1) == -signal.SIGKILL
    process.stdout.close()


def replica(path: Path, results: multiprocessing.Queue) -> None:
    """Score a hundred transactions of one card, each of which another process scores too."""
    state = OnlineState.open(path)
    counts = []
    for number in range(100):
        at = round(START.timestamp() * 1_000_000) + number
        transaction = OnlineTransaction(str(number), at, "purchase", 1, "EUR", 1, {"card_id": "c"}, {})
        answer = state.score(FEATURES, transaction, b"digest", lambda found: str(found[0]).encode())
        counts.append(answer.body)
    state.close()
    results.put(counts)


def test_processes_that_score_the_same_transactions_record_each_once(tmp_path: Path):
    create(tmp_path / "state", empty(Layout.of([FEATURES]), START))
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=replica, args=(tmp_path / "state", results)) for _ in range(2)]
    for process in processes:
        process.start()
    counts = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert counts[0] == counts[1]
    assert counts[0] == [str(np.float64(number + 1)).encode() for number in range(100)]
