"""The aliases of a real registry, followed into a pointer: no Ray, no service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from factories_policy import make_policy
from factories_train import make_bundle

from fraud.errors import ConfigError, ModelNotFoundError
from fraud.features.spec import FeatureSet
from fraud.storage import alerts
from fraud.storage.lake import Lake
from fraud.storage.registry import Registry
from fraud.storage.tracking import Tracking
from serve_app.alias import Alias
from serve_app.served import Watcher, read_pointer


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one store for all: making its tables takes seconds. Each test has a model of its own."""
    return tmp_path_factory.mktemp("mlflow")


class Node:
    """A node of the service with its registry, and an online state that keeps what the test says."""

    def __init__(self, store: Path, name: str, folder: Path) -> None:
        self.uri = f"sqlite:///{store}/mlflow.db"
        self.artifacts = store / "artifacts"
        self.lake = Lake(str(folder / "lake"))
        self.registry = Registry(self.uri, name, self.lake)
        self.pointer = folder / "models" / "serving.json"
        self.covered = True
        self.asked: list[int] = []
        self.alias = Alias(
            self.registry,
            "champion",
            self.pointer,
            covers=self.covers,
            alarm=lambda alert: alerts.add(self.lake, alert),
        )
        self._folder = folder

    def covers(self, feature_sets: Sequence[FeatureSet]) -> bool:
        self.asked.append(len(feature_sets))
        return self.covered or len(feature_sets) == 1

    def registered(self, seed: int) -> str:
        folder = self._folder / f"bundle-{seed}"
        make_bundle(folder, seed=seed)
        with Tracking(self.uri, str(self.artifacts), "tests").run("train") as run:
            version = self.registry.register(run.id, folder, make_policy("1"))
        self.last = self.artifacts / run.id / "artifacts"
        return version

    def named(self, alias: str, version: str) -> None:
        self.registry.set_alias(alias, version, "ann", "a test")


@pytest.fixture
def node(store: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    return Node(store, request.node.name, tmp_path)


def versions(node: Node) -> tuple[str, str | None]:
    pointer = read_pointer(node.pointer)
    return pointer.version, pointer.challenger and pointer.challenger.version


def test_promotion_rollback_and_policy_reach_what_serves(node: Node) -> None:
    for seed in (0, 1):
        node.named("champion", node.registered(seed))
    node.alias.follow()
    watcher = Watcher(node.pointer, 1, lambda _: None)
    assert watcher.served.version == "2"

    node.registry.roll_back("champion", "ann", "worse")
    node.alias.follow()
    asyncio.run(watcher.look())
    assert watcher.served.version == "1"

    node.registry.set_policy("champion", make_policy("2"), "ann", "more reviewers")
    node.alias.follow()
    asyncio.run(watcher.look())
    assert (watcher.served.version, watcher.served.policy) == ("1", make_policy("2"))


def test_challenger_scores_beside_the_champion_until_it_is_the_champion(node: Node) -> None:
    node.named("champion", node.registered(0))
    node.named("challenger", node.registered(1))
    node.alias.follow()
    assert versions(node) == ("1", "2")
    node.named("champion", "2")
    node.alias.follow()
    assert versions(node) == ("2", None)


def test_challenger_whose_features_the_state_lacks_keeps_no_champion_waiting(node: Node) -> None:
    node.named("champion", node.registered(0))
    node.named("challenger", node.registered(1))
    node.covered = False
    node.alias.follow()
    # Asked for both first: the state that is built serves both.
    assert (versions(node), node.asked) == (("1", None), [2, 1])
    node.covered = True
    node.alias.follow()
    assert versions(node) == ("1", "2")


def test_damaged_model_is_never_put_in_place_and_alerts_once_a_promotion(node: Node) -> None:
    node.named("champion", node.registered(0))
    node.alias.follow()
    version = node.registered(1)
    booster = node.last / "bundle" / "booster.json"
    whole = bytearray(booster.read_bytes())
    whole[len(whole) // 2] ^= 1
    booster.write_bytes(whole)
    node.named("champion", version)
    for _ in range(5):
        node.alias.follow()
    assert versions(node) == ("1", None)
    (alert,) = alerts.entries(node.lake)
    assert (alert["kind"], alert["subject"]) == ("model_refused", f"models:/{node.registry.model_name}/2")
    assert "champion is not put in place" in alert["message"]

    node.registry.roll_back("champion", "ann", "damaged")
    node.alias.follow()
    assert versions(node) == ("1", None)
    node.named("champion", version)
    for _ in range(5):
        node.alias.follow()
    assert len(alerts.entries(node.lake)) == 2


def test_damaged_challenger_alerts_and_the_champion_is_put_in_place(node: Node) -> None:
    node.named("champion", node.registered(0))
    node.named("challenger", node.registered(1))
    (node.last / "bundle" / "booster.json").write_bytes(b"{}")
    for _ in range(3):
        node.alias.follow()
    assert versions(node) == ("1", None)
    assert len(alerts.entries(node.lake)) == 1


def test_download_that_breaks_off_once_alerts_nobody(node: Node) -> None:
    node.named("champion", node.registered(0))
    away = node.last.rename(node.last.with_name("away"))
    node.alias.follow()
    assert not node.pointer.exists()
    away.rename(node.last)
    node.alias.follow()
    assert (versions(node), alerts.entries(node.lake)) == (("1", None), [])


def test_registry_that_is_away_leaves_what_serves(node: Node) -> None:
    node.named("champion", node.registered(0))
    node.alias.follow()
    before = node.pointer.read_bytes()
    node.named("champion", "1")
    node.alias._models = Registry("sqlite:////proc/none/mlflow.db", "fraud", node.lake)
    with pytest.raises((ConfigError, OSError)):
        node.alias.follow()
    assert node.pointer.read_bytes() == before


def test_alias_that_names_nothing_is_said(node: Node) -> None:
    with pytest.raises(ModelNotFoundError, match="champion"):
        node.alias.follow()


def test_nothing_is_looked_up_while_nothing_changes(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.named("champion", node.registered(0))
    node.alias.follow()
    asked = []
    resolve = node.registry.resolve
    monkeypatch.setattr(node.registry, "resolve", lambda name: asked.append(name) or resolve(name))
    for _ in range(5):
        node.alias.follow()
    assert asked == []
    node.registry.set_policy("1", make_policy("2"), "ann", "more reviewers")
    asked.clear()
    node.alias.follow()
    assert asked == ["champion", "challenger"]


@pytest.mark.parametrize("damaged", ["bundles/*/booster.json", "policy-*.json"], ids=["bundle", "policy"])
def test_a_copy_that_is_damaged_on_disk_is_fetched_again(node: Node, damaged: str) -> None:
    node.named("champion", node.registered(0))
    node.alias.follow()
    (file,) = node.pointer.parent.glob(damaged)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"1", b"2", 1))
    for _ in range(22):
        node.alias.follow()
    assert file.read_bytes() == whole
    assert Watcher(node.pointer, 1, lambda _: None).served.version == "1"
