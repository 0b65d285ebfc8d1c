"""The watcher: one reference to what serves, swapped when the pointer moves, never to what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from factories_serve import FEATURES, make_served

from fraud.errors import BundleError, ConfigError
from fraud.features import spec
from fraud.features.spec import FeatureSet
from serve_app import served as serving
from serve_app.install import install
from serve_app.served import CHALLENGER, Served, Watcher, read_pointer

WIDER = spec.load_text(FEATURES.replace("spans: [1d]", "spans: [3d]"), "wider.yaml")


class Told:
    """What a watcher says."""

    def __init__(self) -> None:
        self.swaps: list[str] = []
        self.refusals: list[str] = []

    def swapped(self, version: str) -> None:
        self.swaps.append(version)

    def count(self, name: str) -> None:
        self.refusals.append(name)


def accept_any(_: FeatureSet) -> None:
    """The state keeps everything."""


def made(folder: Path, version: str, **changes: Any) -> Served:
    """A model that no pointer names yet."""
    pointer = make_served(_folder(folder / f"model-{version}"), version, **changes)
    return serving.load(pointer.parent, read_pointer(pointer))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.fixture
def pointer(tmp_path: Path) -> Path:
    install(tmp_path / "pointer.json", made(tmp_path, "1"))
    return tmp_path / "pointer.json"


def look(watcher: Watcher, times: int = 1) -> None:
    async def looks() -> None:
        for _ in range(times):
            await watcher.look()

    asyncio.run(looks())


def test_installed_model_serves_and_its_swap_is_told(pointer: Path) -> None:
    told = Told()
    watcher = Watcher(pointer, 1, accept_any, told)
    assert (watcher.served.version, watcher.challenger) == ("1", None)
    install(pointer, made(pointer.parent, "2", seed=1))
    look(watcher)
    assert watcher.served.version == "2"
    assert (told.swaps, told.refusals) == (["1", "2"], [])


def test_installing_the_same_models_again_leaves_the_pointer_alone(pointer: Path) -> None:
    before = pointer.stat().st_ino
    install(pointer, serving.load(pointer.parent, read_pointer(pointer)))
    assert pointer.stat().st_ino == before


def test_challenger_is_loaded_beside_the_champion_which_is_not_loaded_again(pointer: Path) -> None:
    watcher = Watcher(pointer, 1, accept_any)
    first = watcher.served
    install(pointer, first, made(pointer.parent, "2", seed=1))
    look(watcher)
    assert watcher.served is first
    assert watcher.challenger is not None
    assert (watcher.challenger.version, watcher.challenger.role) == ("2", CHALLENGER)


def test_challenger_that_becomes_champion_is_not_loaded_again(
    pointer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(pointer, 1, accept_any)
    challenger = made(pointer.parent, "2", seed=1)
    install(pointer, watcher.served, challenger)
    look(watcher)
    install(pointer, challenger)
    monkeypatch.setattr(serving, "load", lambda *_: pytest.fail("loaded again"))
    look(watcher)
    assert (watcher.served.version, watcher.served.role) == ("2", "champion")
    assert watcher.challenger is None


def test_other_policy_of_the_same_bundle_takes_effect(pointer: Path) -> None:
    from factories_policy import make_policy

    watcher = Watcher(pointer, 1, accept_any)
    first = watcher.served
    install(pointer, Served(first.model, first.version, first.bundle, make_policy("other")))
    look(watcher)
    assert watcher.served.policy == make_policy("other")


def damage(served: Served) -> None:
    booster = served.bundle.path / "booster.json"
    booster.write_bytes(booster.read_bytes().replace(b"1", b"2", 1))


def test_a_start_with_a_damaged_bundle_serves_the_one_before_until_it_is_repaired(pointer: Path) -> None:
    told, second = Told(), made(pointer.parent, "2", seed=1)
    install(pointer, second)
    booster = second.bundle.path / "booster.json"
    whole = booster.read_bytes()
    damage(second)
    watcher = Watcher(pointer, 0.001, accept_any, told)
    assert (watcher.served.version, told.swaps, told.refusals) == ("1", ["1"], ["models_refused"])

    booster.write_bytes(whole)
    watcher._again = 0
    look(watcher)
    assert watcher.served.version == "2"


def test_another_policy_does_not_take_the_place_of_the_bundle_before(pointer: Path) -> None:
    from factories_policy import make_policy

    second = made(pointer.parent, "2", seed=1)
    install(pointer, second)
    install(pointer, Served(second.model, second.version, second.bundle, make_policy("other")))
    damage(second)
    assert Watcher(pointer, 1, accept_any).served.version == "1"


def test_a_start_where_the_bundle_before_is_damaged_too_says_what_is_wrong_with_the_present_one(
    pointer: Path,
) -> None:
    second = made(pointer.parent, "2", seed=1)
    damage(serving.load(pointer.parent, read_pointer(pointer)))
    install(pointer, second)
    damage(second)
    with pytest.raises(BundleError, match="model-2"):
        Watcher(pointer, 1, accept_any)


def test_damaged_challenger_is_left_out_and_the_champion_is_swapped(pointer: Path) -> None:
    told = Told()
    watcher = Watcher(pointer, 1, accept_any, told)
    champion, challenger = made(pointer.parent, "2", seed=1), made(pointer.parent, "3", seed=2)
    damage(challenger)
    install(pointer, champion, challenger)
    look(watcher)
    assert (watcher.served.version, watcher.challenger) == ("2", None)
    assert told.refusals == ["models_refused"]


def test_refusal_is_told_once_and_the_model_serves_when_its_state_is_there(
    pointer: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told, kept = Told(), {made(pointer.parent, "9").bundle.feature_set.version}

    def accept(feature_set: FeatureSet) -> None:
        if feature_set.version not in kept:
            raise ConfigError("online state", "it keeps less")

    watcher = Watcher(pointer, 0.001, accept, told)
    install(pointer, made(pointer.parent, "2", feature_set=WIDER))
    look(watcher)
    watcher._again = 0
    look(watcher)
    assert watcher.served.version == "1"
    assert told.refusals == ["models_refused"]
    assert [record.getMessage() for record in caplog.records].count(
        "the new model is refused, the old one stays"
    ) == 1

    kept.add(WIDER.version)  # The state was handed over; the pointer is as it was.
    watcher._again = 0
    look(watcher)
    assert watcher.served.version == "2"


def test_refused_model_is_not_tried_at_every_look(pointer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = Watcher(pointer, 60, accept_any)
    attempts = []

    def load(*_: Any) -> Served:
        attempts.append(1)
        raise BundleError("bundle", "damaged")

    challenger = made(pointer.parent, "2", seed=1)
    monkeypatch.setattr(serving, "load", load)
    install(pointer, challenger)
    look(watcher, times=5)
    assert len(attempts) == 1
