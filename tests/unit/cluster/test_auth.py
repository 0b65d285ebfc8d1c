"""The Ray token: found in Ray's order, made privately, never silently off."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cluster.auth import switch_on
from fraud.errors import ClusterError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a token, and no Ray variable; what is set in a test is undone after it."""
    for variable in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def token_file(home: Path, text: str) -> Path:
    file = home / ".ray" / "auth_token"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def test_token_is_made_for_its_owner_alone(home: Path) -> None:
    before = os.umask(0o022)
    try:
        token = switch_on(create=True)
    finally:
        os.umask(before)
    file = home / ".ray" / "auth_token"
    assert token is not None
    assert file.read_text() == token
    assert len(token) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_token_that_is_there_is_kept(home: Path) -> None:
    token_file(home, "secret\n")
    assert switch_on(create=True) == "secret"


def test_client_makes_no_token(home: Path) -> None:
    assert switch_on(create=False) is None
    assert not (home / ".ray").exists()
    assert "RAY_AUTH_MODE" not in os.environ


def test_token_in_the_environment_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token_file(home, "in the file")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "in the environment")
    assert switch_on(create=False) == "in the environment"


def test_named_file_comes_before_the_default(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token_file(home, "default")
    (home / "named").write_text("named")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "named"))
    assert switch_on(create=False) == "named"


def test_named_file_that_is_missing_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "none"))
    with pytest.raises(ClusterError, match="none cannot be read"):
        switch_on(create=True)


def test_empty_token_is_refused(home: Path) -> None:
    token_file(home, "\n")
    with pytest.raises(ClusterError, match="is empty"):
        switch_on(create=True)


def test_mode_that_ray_ignores_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "tokens")
    with pytest.raises(ClusterError, match="would leave Ray open"):
        switch_on(create=True)


def test_mode_switched_off_on_purpose_stays_off(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert switch_on(create=True) is None
    assert not (home / ".ray").exists()
