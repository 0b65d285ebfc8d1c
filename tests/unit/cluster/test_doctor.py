from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from factories_serve import FEATURE_SET, make_served

from cluster import doctor, doctor_service, wiring
from cluster.settings import Settings, load
from fraud.features.layout import Layout
from fraud.storage import journal, state
from serve_app import keys

Checked = Callable[..., dict[str, Any]]


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checked:
    """Run the doctor on a work directory and return one check."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def check(name: str, **options: object) -> dict[str, Any]:
        options = {"work.dir": str(tmp_path / "work"), **options}
        report = doctor.run(settings(**options))
        found = {check["name"]: check for check in report["checks"]}
        assert report["ok"] == all(check["ok"] for check in found.values())
        return found[name]

    return check


def settings(**options: object) -> Settings:
    return load(options=options)


def record(at: datetime) -> bytes:
    return orjson.dumps({"record": "event", "received_at": at.isoformat()})


def test_a_fresh_place_is_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    report = doctor.run(
        settings(**{"work.dir": str(tmp_path / "work"), "serve.port": port, "serve.disk_reserve_bytes": 0})
    )
    assert [check for check in report["checks"] if not check["ok"]] == []
    assert not (tmp_path / "work").exists()


def test_ray_that_asks_for_no_token_is_named(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    found = checked("ray auth mode")
    assert not found["ok"]
    assert "unset" in found["detail"]


def test_an_address_open_to_others_needs_keys(checked: Checked) -> None:
    found = checked("service address", **{"serve.host": "192.0.2.1"})
    assert not found["ok"]
    assert "fraud key new" in found["detail"]


def test_a_port_held_by_another_program_is_named(checked: Checked) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        found = checked("service port", **{"serve.port": other.getsockname()[1]})
    assert not found["ok"]
    assert "serve.port" in found["detail"]


def test_keys_that_others_can_read_are_named(checked: Checked, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    keys.create(file, "shop", ["score"], now=datetime.now(UTC))
    assert checked("API keys", **{"serve.keys_file": str(file)})["detail"] == "1 of 1 are good"
    file.chmod(0o644)
    found = checked("API keys", **{"serve.keys_file": str(file)})
    assert f"chmod 600 {file}" in found["detail"]


def test_keys_that_have_all_ended_are_named(checked: Checked, tmp_path: Path) -> None:
    file, past = tmp_path / "keys.yaml", datetime(2026, 1, 1, tzinfo=UTC)
    keys.create(file, "shop", ["score"], now=past, expires=past + timedelta(days=1))
    assert "fraud key new" in checked("API keys", **{"serve.keys_file": str(file)})["detail"]


def test_a_slow_disk_is_named(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked("journal disk")["ok"]
    monkeypatch.setattr(os, "fdatasync", lambda _: time.sleep(0.03))
    found = checked("journal disk")
    assert not found["ok"]
    assert "faster disk" in found["detail"]


def test_a_disk_near_its_reserve_is_named(checked: Checked) -> None:
    found = checked("disk reserve", **{"serve.disk_reserve_bytes": 2**50})
    assert not found["ok"]
    assert "make room" in found["detail"]


def test_a_clock_set_back_is_named(checked: Checked, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "state").mkdir()
    assert checked("clock")["ok"]
    later = time.time() + 3600
    os.utime(tmp_path / "work" / "state", (later, later))
    found = checked("clock")
    assert not found["ok"]
    assert "set the clock" in found["detail"]


def test_a_damaged_model_in_place_is_named(checked: Checked, tmp_path: Path) -> None:
    models = tmp_path / "work" / "models"
    models.mkdir(parents=True)
    make_served(models).rename(models / "serving.json")
    (models / "bundle-1" / "booster.json").write_text("{}")
    assert not checked("served model")["ok"]


class Registry:
    """A registry whose champion is one version."""

    def __init__(self, version: str, digest: str) -> None:
        self._champion = SimpleNamespace(version=version, digest=digest)

    def resolve(self, alias: str) -> SimpleNamespace:
        assert alias == "champion"
        return self._champion


def test_a_model_in_place_that_is_not_the_champion_is_named(
    checked: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "work" / "models"
    models.mkdir(parents=True)
    make_served(models).rename(models / "serving.json")
    digest = orjson.loads((models / "serving.json").read_bytes())["digest"]
    monkeypatch.setattr(wiring, "registry", lambda _: Registry("1", digest))
    assert checked("served model")["ok"]
    monkeypatch.setattr(wiring, "registry", lambda _: Registry("2", "0" * 64))
    found = checked("served model")
    assert not found["ok"]
    assert "version 1 is in place and the registry's champion is 2" in found["detail"]


def test_the_state_tells_as_of_when_it_is(checked: Checked, tmp_path: Path) -> None:
    place, as_of = tmp_path / "work" / "state", datetime(2026, 1, 2, tzinfo=UTC)
    state.create(place, state.empty(Layout.of([FEATURE_SET]), as_of))
    assert checked("online state") == {
        "name": "online state",
        "ok": True,
        "detail": "as of 2026-01-02 00:00 UTC",
    }


def test_a_journal_that_nobody_ships_is_named(checked: Checked, tmp_path: Path) -> None:
    folder = tmp_path / "work" / "journal"
    folder.mkdir(parents=True)
    assert checked("journals")["detail"] == "all in the lake"
    now = datetime.now(UTC)
    journal.keep(folder / f"a{journal.SUFFIX}", [record(now)])
    assert checked("journals")["ok"]
    journal.keep(folder / f"a{journal.SUFFIX}", [record(now - timedelta(hours=1)), record(now)])
    found = checked("journals")
    assert not found["ok"]
    assert "fraud ship" in found["detail"]


def test_every_check_says_something(tmp_path: Path) -> None:
    named = [name for name, _ in doctor_service.checks(settings(**{"work.dir": str(tmp_path)}))]
    assert len(named) == len(set(named)) == 8
