"""The steward on Ray Serve with a real registry: what an alias names serves, what is damaged never does."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson
import pytest
from factories_policy import make_policy
from factories_train import FEATURE_SET, START, make_bundle, make_lake

from cluster import service, wiring
from cluster.settings import Settings, load
from fraud.errors import ConfigError
from fraud.features import spec
from fraud.features.spec import FeatureSet
from fraud.storage import alerts, journal
from fraud.storage.registry import Registry
from serve_app import run as serving

pytestmark = pytest.mark.ray

VISIBLE_S = 10.0
"""Within this time every replica has followed."""


T = TypeVar("T")


def looked(look: Callable[[], T], is_so: Callable[[T], object] = bool, *, within_s: float) -> T:
    """Look again and again until it is so, at most so long; return what was seen last."""
    deadline = time.monotonic() + within_s
    while not is_so(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return seen


def other(days: int) -> FeatureSet:
    """Features that the online state of the first model lacks."""
    text = FEATURE_SET.to_yaml().replace("1d", f"{days}d")
    return spec.load_text(text, "test")


class Node:
    """A work directory with a lake and a registry, and the service of it."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.lake = wiring.lake(settings)
        self.registry: Registry = wiring.registry(settings)
        self.url = f"http://{settings.serve.host}:{settings.serve.port}"
        self.folder = folder
        self._posted = 0

    def register(self, seed: int, feature_set: FeatureSet = FEATURE_SET) -> str:
        folder = self.folder / f"bundle-{seed}"
        make_bundle(folder, seed=seed, feature_set=feature_set)
        with wiring.tracking(self.settings).run("train") as run:
            self.last = self.folder / "work" / "artifacts" / run.id / "artifacts"
            return self.registry.register(run.id, folder, make_policy("1"))

    def promote(self, version: str, alias: str = "champion") -> None:
        self.registry.set_alias(alias, version, "ann", "a test")

    def deploy(self) -> None:
        service.prepare(self.settings, "champion", print)
        serving.start(service.application(self.settings, "champion"), self.settings.serve)

    def score(self, client: httpx.Client) -> httpx.Response:
        self._posted += 1
        at = START + timedelta(days=5)
        body = {
            "transaction_id": f"posted-{self._posted}",
            "event_time": at.isoformat(),
            "amount_minor": 4_250,
            "currency": "EUR",
            "card_id": f"card-{self._posted}",
        }
        return client.post("/v1/score", json=body)


class Traffic:
    """Requests one after the other, each on a connection of its own, until it is told to stop."""

    def __init__(self, node: Node) -> None:
        self.statuses: Counter[int] = Counter()
        self.answered: list[tuple[float, str, str]] = []
        self._node = node
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            with httpx.Client(base_url=self._node.url, timeout=10) as client:
                answer = self._node.score(client)
            self.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                said = answer.json()
                self.answered.append((time.monotonic(), said["model"]["version"], said["policy_version"]))

    def settles(self, expected: Callable[[str, str], bool], within_s: float = VISIBLE_S + 5) -> float:
        """Return how long it took until all answers of a second were as expected."""
        began = time.monotonic()
        while time.monotonic() < began + within_s:
            time.sleep(0.1)
            now = time.monotonic()
            recent = [(version, policy) for at, version, policy in self.answered if at > max(began, now - 1)]
            if now > began + 1 and len(recent) > 10 and all(expected(*each) for each in recent):
                return now - 1 - began
        raise AssertionError(f"not so after {within_s} s: {Counter(recent)}")


@pytest.fixture(scope="module")
def node(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("steward")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = load(
        options={
            "work.dir": str(folder / "work"),
            "serve.port": port,
            "serve.min_replicas": 2,
            "serve.max_replicas": 2,
            "serve.cpus_per_replica": 0.4,
            "serve.entities": ["card_id"],
        }
    )
    node = Node(settings, folder)
    make_lake(node.lake, days=5, features=False)
    node.promote(node.register(0))
    node.deploy()
    yield node
    serving.stop()


def test_promotion_policy_and_rollback_are_visible_on_all_replicas_in_time(node: Node) -> None:
    node.register(1)
    with Traffic(node) as traffic:
        took = {}
        node.promote("2")
        took["promote"] = traffic.settles(lambda version, _: version == "2")
        node.registry.set_policy("champion", make_policy("2"), "ann", "a test")
        took["policy"] = traffic.settles(lambda version, policy: (version, policy) == ("2", "2"))
        node.registry.roll_back("champion", "ann", "a test")
        took["rollback"] = traffic.settles(lambda version, _: version == "1")
    print({name: round(seconds, 1) for name, seconds in took.items()}, traffic.statuses)
    assert max(took.values()) <= VISIBLE_S
    assert set(traffic.statuses) == {200}


def test_damaged_model_promoted_on_purpose_never_serves_and_alerts(node: Node) -> None:
    version = node.register(2)
    booster = node.last / "bundle" / "booster.json"
    whole = bytearray(booster.read_bytes())
    whole[len(whole) // 2] ^= 1
    booster.write_bytes(whole)
    with Traffic(node) as traffic:
        node.promote(version)
        found = looked(lambda: alerts.entries(node.lake), within_s=20)
        time.sleep(5)
    node.registry.roll_back("champion", "ann", "it is damaged")
    assert [(row["kind"], row["subject"]) for row in found] == [("model_refused", f"models:/fraud/{version}")]
    assert version not in {served for _, served, _ in traffic.answered}
    assert set(traffic.statuses) == {200}
    assert len(alerts.entries(node.lake)) == 1


def test_features_that_the_state_lacks_are_built_while_the_old_model_answers(node: Node) -> None:
    version = node.register(3, other(3))
    with Traffic(node) as traffic:
        node.promote(version)
        built = traffic.settles(lambda served, _: served == version, within_s=40)
        node.registry.roll_back("champion", "ann", "a test")
        # What the first model needs was kept.
        back = traffic.settles(lambda served, _: served == "1")
    print(f"built after {built:.1f} s, back after {back:.1f} s", traffic.statuses)
    assert back <= VISIBLE_S
    assert set(traffic.statuses) == {200}
    assert {served for _, served, _ in traffic.answered} == {"1", version}


def test_challenger_of_other_features_scores_in_the_shadow(node: Node) -> None:
    version = node.register(4, other(5))
    node.promote(version, "challenger")

    def shadowed() -> list[dict[str, Any]]:
        segments = journal.segments(node.folder / "work" / "journal")
        records = [orjson.loads(record) for segment in segments for record in journal.read(segment)]
        return [each for each in records if each["record"] == "shadow"]

    with Traffic(node) as traffic:
        found = looked(shadowed, within_s=40)
    assert {each["model"]["version"] for each in found} == {version}
    assert {served for _, served, _ in traffic.answered} == {"1"}
    assert set(traffic.statuses) == {200}

    def roles() -> list[str]:
        return [each["role"] for each in httpx.get(f"{node.url}/v1/models").json()["models"]]

    # The replica that is asked need not be the one that was first to have the challenger.
    both = ["champion", "challenger"]
    assert looked(roles, lambda found: found == both, within_s=10) == both


def test_deleted_state_is_put_back(node: Node) -> None:
    state = node.folder / "work" / "state"
    with Traffic(node) as traffic:
        time.sleep(1)
        shutil.rmtree(state)
        looked((state / "data.mdb").is_file, within_s=10)
        time.sleep(2)
    assert (state / "data.mdb").is_file()
    assert set(traffic.statuses) == {200}


def test_journal_is_brought_into_the_lake_in_the_background(node: Node) -> None:
    with httpx.Client(base_url=node.url) as client:
        posted = node.score(client).json()["transaction_id"]

    def shipped() -> list[str]:
        if not node.lake.exists("decisions"):
            return []
        return node.lake.read("decisions", columns=["transaction_id"]).column("transaction_id").to_pylist()

    assert posted in looked(shipped, lambda ids: posted in ids, within_s=20)


def test_service_starts_from_what_is_in_place_while_the_registry_is_away(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = node.settings.mlflow.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    settings = node.settings.model_copy(update={"mlflow": away})
    told: list[str] = []
    assert service.prepare(settings, "champion", told.append).version == "1"
    assert "serving version 1, which is in place" in told[0]
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9"):
        service.prepare(settings, "2", told.append)


def test_redeployment_fails_no_request(node: Node) -> None:
    with Traffic(node) as traffic:
        time.sleep(0.5)
        node.deploy()
        time.sleep(2)
    assert set(traffic.statuses) == {200}
