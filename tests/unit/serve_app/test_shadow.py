"""The challenger scores what was answered, and nobody waits for it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from factories_serve import FEATURE_SET, FEATURES, make_served

from fraud.errors import ConfigError
from fraud.features import spec
from fraud.features.facts import Floats
from fraud.features.online import OnlineTransaction
from fraud.features.spec import FeatureSet
from fraud.storage.journal import JournalError
from serve_app import served as serving
from serve_app import shadow as shadows
from serve_app.served import CHALLENGER, Served, read_pointer
from serve_app.shadow import Shadow

WIDER = spec.load_text(FEATURES.replace("spans: [1d]", "spans: [3d]"), "wider.yaml")
NOON_US = round(datetime(2026, 2, 1, 12, tzinfo=UTC).timestamp() * 1_000_000)


class Node:
    """The models, the state and the journal of a replica, in memory."""

    def __init__(self) -> None:
        self.challenger: Served | None = None
        self.records: list[dict[str, Any]] = []
        self.peeked: list[str] = []
        self.agreed: list[bool] = []
        self.journal_error: JournalError | None = None

    def peek(self, feature_set: FeatureSet, transaction: OnlineTransaction) -> Floats:
        self.peeked.append(transaction.transaction_id)
        if transaction.transaction_id == "forgotten":
            raise ConfigError("online state", "not recorded")
        return features(100.0)

    async def write(self, record: bytes) -> None:
        await asyncio.sleep(0)
        if self.journal_error is not None:
            raise self.journal_error
        self.records.append(orjson.loads(record))

    def shadowed(self, *, agrees: bool) -> None:
        self.agreed.append(agrees)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Served]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "champion": _load(folder, "1"),
        "same": _load(folder, "2", seed=1),
        "wider": _load(folder, "3", seed=2, feature_set=WIDER),
    }


def _load(folder: Path, version: str, **changes: Any) -> Served:
    return serving.load(folder, read_pointer(make_served(folder, version, **changes)), CHALLENGER)


def features(amount: float) -> Floats:
    return np.array([amount, *[1.0] * (len(FEATURE_SET.names) - 1)])


def bought(name: str, amount: int = 4_250) -> OnlineTransaction:
    return OnlineTransaction(name, NOON_US, "purchase", amount, "EUR", amount, {"card_id": "c"}, {})


def shadowed(node: Node, champion: Served, *names: str, decision: str = "approve") -> Shadow:
    shadow = Shadow(node, node, node, node)

    async def scenario() -> None:
        for name in names:
            shadow.offer(champion, bought(name), features(4_250.0), decision)
        await shadow.drain()

    asyncio.run(scenario())
    return shadow


def test_challenger_of_the_same_features_scores_those_already_computed(models: dict[str, Served]) -> None:
    node, challenger = Node(), models["same"]
    node.challenger = challenger
    shadowed(node, models["champion"], "a", "b")
    (first, second), bundle = node.records, challenger.bundle
    score = bundle.scores(features(4_250.0).astype(np.float32).reshape(1, -1))
    assert first == {
        "record": "shadow",
        "transaction_id": "a",
        "event_time": "2026-02-01T12:00:00.000000Z",
        "score": float(score[0]),
        "probability": float(bundle.probabilities(score)[0]),
        "decision": "approve",
        "model": {"name": "fraud", "version": "2", "digest": bundle.digest},
        "policy_version": "p2",
        "features_version": FEATURE_SET.version,
        "scored_at": first["scored_at"],
    }
    assert (second["transaction_id"], node.peeked, node.agreed) == ("b", [], [True, True])


def test_challenger_of_other_features_has_them_read_from_the_state(models: dict[str, Served]) -> None:
    node = Node()
    node.challenger = models["wider"]
    shadow = shadowed(node, models["champion"], "a", "forgotten", "b", decision="decline")
    assert [record["transaction_id"] for record in node.records] == ["a", "b"]
    assert {record["features_version"] for record in node.records} == {WIDER.version}
    assert (node.peeked, node.agreed, shadow.dropped) == (["a", "forgotten", "b"], [False, False], 1)


def test_nothing_waits_where_there_is_no_challenger(models: dict[str, Served]) -> None:
    node = Node()
    shadow = shadowed(node, models["champion"], "a")
    assert (node.records, shadow.waiting, shadow.dropped) == ([], 0, 0)


def test_challenger_that_falls_behind_leaves_transactions_out(models: dict[str, Served]) -> None:
    node = Node()
    node.challenger = models["same"]
    shadow = Shadow(node, node, node)
    for number in range(shadows._WAITING + 5):
        shadow.offer(models["champion"], bought(str(number)), features(1.0), "approve")
    assert (shadow.waiting, shadow.dropped) == (shadows._WAITING, 5)


def test_full_disk_costs_shadow_records_only(models: dict[str, Served]) -> None:
    node = Node()
    node.challenger, node.journal_error = models["same"], JournalError("journal", "No space left on device")
    assert shadowed(node, models["champion"], "a", "b").dropped == 2


def test_challenger_takes_a_bounded_share_of_the_loop(
    models: dict[str, Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node()
    node.challenger = models["same"]
    shadow = Shadow(node, node, node)
    monkeypatch.setattr(shadow, "_scored", lambda *_: time.sleep(0.01) or [])

    async def scenario() -> int:
        for number in range(shadows._WAITING):
            shadow.offer(models["champion"], bought(str(number)), features(1.0), "approve")
        running = asyncio.create_task(shadow.run())
        await asyncio.sleep(0.5)
        running.cancel()
        return shadows._WAITING - shadow.waiting

    # 10 ms for every 16: a whole core would do 800 in that time.
    assert 0 < asyncio.run(scenario()) <= 200
