"""A disk that is nearly full is not written to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fraud.errors import DiskFullError
from fraud.storage import disk
from fraud.storage.disk import Reserve, free_bytes
from fraud.storage.state_store import LmdbStore


@pytest.fixture
def free(monkeypatch) -> Callable[[int], None]:
    """Says how much is free, at once."""
    monkeypatch.setattr(disk, "_LOOK_S", 0.0)
    return lambda count: monkeypatch.setattr(disk, "free_bytes", lambda _: count)


def test_free_bytes_are_those_of_the_disk_of_a_folder_or_of_an_open_file(tmp_path: Path):
    (tmp_path / "file").touch()
    with (tmp_path / "file").open() as file:
        assert abs(free_bytes(tmp_path) - free_bytes(file.fileno())) < 1 << 30
    assert free_bytes(tmp_path) > 0


def test_less_than_the_reserve_is_refused_and_enough_is_not(tmp_path: Path, free: Callable[[int], None]):
    reserve = Reserve(tmp_path, 2 << 20)
    free(2 << 20)
    reserve.check()
    free((2 << 20) - 1)
    with pytest.raises(DiskFullError, match="less than 2 MiB of the disk are free"):
        reserve.check()


def test_the_disk_is_looked_at_once_a_second(tmp_path: Path, monkeypatch):
    looks: list[object] = []
    monkeypatch.setattr(disk, "free_bytes", lambda place: looks.append(place) or 1 << 40)
    reserve = Reserve(tmp_path)
    for _ in range(100):
        reserve.check()
    assert len(looks) == 1


def test_a_full_disk_refuses_writes_but_not_reads_and_recovers(tmp_path: Path, free: Callable[[int], None]):
    store = LmdbStore(tmp_path, create=True)
    store.transact(lambda pages: pages.put(b"a", b"1"))
    free(0)
    with pytest.raises(DiskFullError):
        store.transact(lambda pages: pages.put(b"a", b"2"))
    with pytest.raises(DiskFullError):
        store.load([(b"b", b"1")])
    assert store.read(lambda pages: pages.get(b"a")) == b"1"
    free(1 << 40)
    store.transact(lambda pages: pages.put(b"a", b"3"))
    assert store.read(lambda pages: pages.get(b"a")) == b"3"


def test_the_disk_of_a_deleted_state_is_looked_at_too(tmp_path: Path, free: Callable[[int], None]):
    store = LmdbStore(tmp_path, create=True)
    (tmp_path / "data.mdb").unlink()
    free(0)
    with pytest.raises(DiskFullError):
        store.tend()
    assert not (tmp_path / "data.mdb").exists()
