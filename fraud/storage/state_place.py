"""Putting a state in a place where another may be in use."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fraud.errors import ConfigError, StateBuiltElsewhereError, StateMovedError
from fraud.storage.state import OnlineState
from fraud.storage.state_store import LmdbStore


@contextmanager
def building(path: Path) -> Iterator[Path]:
    """Have the one folder to build a state for a place in, while inside; ``put_in_place`` ends it.

    Args:
        path: The place.

    Raises:
        StateBuiltElsewhereError: Another process builds for this place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(lock, path)
        _store(path)  # one that was left for a complete folder gets it
        for killed in path.parent.glob(f"{path.name}.building-*"):
            shutil.rmtree(killed, ignore_errors=True)
        # Of a name of its own: a state that was left for a folder that is gone must not get this one.
        yield path.with_name(f"{path.name}.building-{secrets.token_hex(4)}")
    finally:
        os.close(lock)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateBuiltElsewhereError(str(path)) from None


def put_in_place(built: Path, path: Path, *, answers: bool = True) -> None:
    """Rename a complete state into a place; who uses the one that was there goes on in it.

    Args:
        built: Its folder, see ``building``.
        path: The place.
        answers: Bring over what was answered in the one that was there.

    Raises:
        DiskFullError: The disk is too full to bring anything over.
    """
    new = OnlineState.open(built)
    try:
        while (old := _store(path)) is not None:
            with suppress(StateMovedError):
                if answers:
                    new.relieve(old, built)
                else:
                    old.leave(built, lambda: None)
                return
        shutil.rmtree(path, ignore_errors=True)
        built.rename(path)
    finally:
        new.close()


def _store(path: Path) -> LmdbStore | None:
    """The store in a place; None where there is none, or one that was left and has none after it."""
    with suppress(ConfigError):
        found = LmdbStore(path)
        try:
            found.read(lambda _: None)
        except StateMovedError:
            return found.successor()
        return found
    return None
