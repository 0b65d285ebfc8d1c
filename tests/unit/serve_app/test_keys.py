from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from fraud.errors import ConfigError
from serve_app import keys
from serve_app.keys import Keys, check_exposure, create, read, revoke
from serve_app.rate import Rate
from serve_app.settings import ServeSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [1000.0]
    monkeypatch.setattr(keys.time, "monotonic", lambda: at[0])
    return at


def new(path: Path, client: str = "shop", *scopes: keys.Scope, expires: datetime | None = None) -> bytes:
    token, _ = create(path, client, scopes or ("score",), now=NOW, expires=expires)
    return token.encode()


def test_a_new_key_is_found_and_kept_as_a_hash_only(path: Path) -> None:
    token = new(path, "shop", "score", "labels")
    caller = Keys(path).find(token)
    assert caller is not None
    assert caller.scopes == {"score", "labels"}
    secret = token.split(b"_", 2)[2].decode()
    assert len(token) > 50
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_wrong_keys_are_nobodys(path: Path) -> None:
    token = new(path)
    found = Keys(path)
    half = len(token) // 2
    wrong = [
        b"",
        b"fk_",
        b"fk__",
        b"x",
        token[:-1],
        token + b"a",
        b"FK" + token[2:],
        token[:half],
        b"\xff" * 40,
    ]
    wrong.append(token[:-1] + (b"A" if token[-1:] != b"A" else b"B"))
    wrong.append(b"fk_00000000_" + token.split(b"_", 2)[2])
    assert [found.find(each) for each in wrong] == [None] * len(wrong)


def test_an_expired_key_is_nobodys(path: Path) -> None:
    past = new(path, expires=datetime.now(UTC) - timedelta(seconds=1))
    future = new(path, expires=datetime.now(UTC) + timedelta(days=1))
    found = Keys(path)
    assert found.find(past) is None
    assert found.find(future) is not None


def test_a_client_changes_from_one_key_to_the_next(path: Path, clock: list[float]) -> None:
    old = new(path)
    found = Keys(path)
    fresh = new(path)
    assert found.find(fresh) is None  # it looks once a second
    clock[0] += 1
    assert found.find(fresh) is not None
    assert found.find(old) is not None
    revoke(path, old.split(b"_")[1].decode())
    clock[0] += 1
    assert found.find(old) is None
    assert found.find(fresh) is not None


@pytest.mark.parametrize("broken", ["keys: [", "format_version: 2\nkeys: []", "[]", ""])
def test_a_broken_file_keeps_the_keys(
    path: Path, clock: list[float], caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    token = new(path)
    whole = path.read_text()
    found = Keys(path)
    path.write_text(broken)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            clock[0] += 1
            assert found.find(token) is not None
    assert len(caplog.records) == 1
    path.unlink()
    clock[0] += 1
    assert found.find(token) is not None
    path.write_text(whole.replace("shop", "market"))
    clock[0] += 1
    assert found.find(token) is not None


def test_a_broken_file_is_told_without_its_hashes(path: Path) -> None:
    new(path)
    raw = yaml.safe_load(path.read_text())
    digest = raw["keys"][0]["sha256"]
    raw["keys"][0]["scopes"] = ["everything"]
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match="fraud key new") as caught:
        Keys(path)
    assert digest not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(path.with_name("absent"))


def test_what_cannot_be_a_key_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="client"):
        new(path, "a shop\n")
    with pytest.raises(ConfigError, match="scopes"):
        create(path, "shop", (), now=NOW)
    new(path)
    with pytest.raises(ConfigError, match="fraud key list"):
        revoke(path, "00000000")


def test_two_lines_of_one_id_are_refused(path: Path) -> None:
    new(path)
    raw = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**raw, "keys": raw["keys"] * 2}))
    with pytest.raises(ConfigError, match="same id"):
        read(path)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.1.1"])
def test_without_keys_this_machine_is_served(host: str) -> None:
    check_exposure(ServeSettings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "scoring.example", "localhost.example"])  # noqa: S104
def test_without_keys_nobody_else_is(host: str, path: Path) -> None:
    with pytest.raises(ConfigError, match="fraud key new"):
        check_exposure(ServeSettings(host=host))
    new(path)
    check_exposure(ServeSettings(host=host, keys_file=str(path)))
    path.write_text("broken")
    with pytest.raises(ConfigError):
        check_exposure(ServeSettings(host=host, keys_file=str(path)))


def test_rate_lets_a_second_through_at_once_and_then_its_pace() -> None:
    rate = Rate(10.0)
    assert [rate.admits("a", 0.0) for _ in range(11)] == [True] * 10 + [False]
    assert rate.admits("b", 0.0)
    assert not rate.admits("a", 0.05)
    assert rate.admits("a", 0.11)
    assert [rate.admits("a", 60.0) for _ in range(11)] == [True] * 10 + [False]


def test_a_slow_rate_lets_one_through_and_none_lets_all() -> None:
    rate = Rate(0.5)
    assert [rate.admits("a", at) for at in (0.0, 1.0, 2.0, 2.5)] == [True, False, True, False]
    assert all(Rate(0.0).admits("a", 0.0) for _ in range(100))
