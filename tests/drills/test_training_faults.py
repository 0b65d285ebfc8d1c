from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray.data
import xgboost as xgb
from training_faults import KILL, STOP, Boosted, Fault, killed_at, prepare, record, redone

from fraud.errors import ClusterError
from fraud.features.encode import matrix
from fraud.jobs import engine
from fraud.model.booster import predict
from fraud.model.metrics import average_precision
from fraud.settings import TrainSettings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(900)]

NAMES = ("a", "b", "c")
ROUNDS, CHECKPOINT_ROUNDS = 100, 10
SETTINGS = TrainSettings(
    rounds=ROUNDS, max_bin=4096, checkpoint_rounds=CHECKPOINT_ROUNDS, max_failures=5, workers=2
)
ENGINES = ("ray_train", "xgboost_ray")


def make_table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    y = x[:, 0] * x[:, 1] + x[:, 2] + rng.normal(size=rows) > 3.5
    return pa.table({"is_fraud": y, **{name: x[:, at] for at, name in enumerate(NAMES)}})


def train(name: str, storage: Path) -> xgb.Booster:
    settings = SETTINGS.model_copy(update={"engine": name})
    table = make_table(40_000, seed=1)
    (booster,) = engine.fit([ray.data.from_arrow(table)], NAMES, settings, storage=storage)
    return booster


def precision(booster: xgb.Booster) -> float:
    unseen = make_table(40_000, seed=2)
    return average_precision(
        np.asarray(unseen.column("is_fraud"), np.bool_), predict(booster, matrix(unseen, NAMES))
    )


@pytest.mark.parametrize("name", ENGINES)
def test_five_killed_workers_cost_a_checkpoint_each_and_no_precision(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = np.random.default_rng(7)
    rounds = sorted(drawn.choice(np.arange(1, ROUNDS + 1), 5, replace=False).tolist())
    ranks = drawn.integers(2, size=5).tolist()
    faults = [Fault(rank, round_, KILL) for rank, round_ in zip(ranks, rounds, strict=True)]
    prepare(tmp_path, faults, monkeypatch)
    booster = train(name, tmp_path)
    assert booster.num_boosted_rounds() == ROUNDS
    for rank in range(2):
        again = redone(record(tmp_path, rank))
        print(f"{name}, rank {rank}: killed after rounds {rounds}, boosted again {again}")
        assert max(again) <= CHECKPOINT_ROUNDS
        assert len(again) == 5

    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    prepare(undisturbed, [], monkeypatch)
    expected = precision(train(name, undisturbed))
    print(f"{name}: average precision {precision(booster):.5f}, undisturbed {expected:.5f}")
    assert precision(booster) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_frozen_worker_is_noticed_killed_and_replaced_within_a_minute(
    name: str, rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, [Fault(rank, 35, STOP)], monkeypatch)
    seen: list[float] = []
    watch = threading.Thread(target=_watch, args=(tmp_path, rank, seen), daemon=True)
    watch.start()
    booster = train(name, tmp_path)
    assert booster.num_boosted_rounds() == ROUNDS
    watch.join(timeout=10)
    print(f"{name}, rank {rank}: frozen for {seen} s until it was killed")
    assert seen
    assert seen[0] < 60
    assert max(redone(record(tmp_path, rank))) <= CHECKPOINT_ROUNDS


@pytest.mark.parametrize("name", ENGINES)
def test_more_failures_than_allowed_end_in_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, [Fault(1, 5, KILL), Fault(1, 6, KILL)], monkeypatch)
    monkeypatch.setattr(f"{__name__}.SETTINGS", SETTINGS.model_copy(update={"max_failures": 1}))
    with pytest.raises(ClusterError, match=r"more often than train\.max_failures = 1 allows") as caught:
        train(name, tmp_path)
    print(caught.value)
    assert "\n" not in str(caught.value)
    assert [folder for folder in tmp_path.iterdir() if folder.is_dir()] == []


def _watch(folder: Path, rank: int, seen: list[float]) -> None:
    """Put into ``seen`` how long the frozen process was there."""
    while not (folder / "struck-0").exists():
        time.sleep(0.1)
    frozen: Boosted = record(folder, rank)[-1]
    for gone in killed_at(frozen.pid):
        if gone is not None:
            seen.append(round(gone - frozen.at, 1))
        time.sleep(0.2)
