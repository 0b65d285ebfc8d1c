from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray.data
import xgboost as xgb

from fraud.errors import ClusterError, ConfigError, NotEnoughDataError
from fraud.features.encode import matrix
from fraud.jobs import engine
from fraud.jobs.shards import shard
from fraud.model.booster import booster_params, predict
from fraud.model.metrics import average_precision
from fraud.settings import TrainSettings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

NAMES = ("a", "b", "c")
# More bins than rows: every value is a cut, so the workers' merged sketch is exact. With fewer, XGBoost's
# merge is approximate and the number of workers alone moves the metric.
SETTINGS = TrainSettings(rounds=30, workers=2, max_bin=4096, learning_rate=0.3)


def make_table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    y = x[:, 0] * x[:, 1] + x[:, 2] + rng.normal(size=rows) > 2.5
    columns = {name: pa.array(x[:, i], mask=rng.random(rows) < 0.05) for i, name in enumerate(NAMES)}
    return pa.table({"transaction_id": [str(i) for i in range(rows)], "is_fraud": y, **columns})


def make_dataset(table: pa.Table) -> ray.data.Dataset:
    third = table.num_rows // 3
    return ray.data.from_arrow([table.slice(0, third), table.slice(third, 7), table.slice(third + 7)])


def single_process(table: pa.Table, settings: TrainSettings) -> xgb.Booster:
    data = xgb.QuantileDMatrix(
        matrix(table, NAMES),
        label=np.asarray(table.column("is_fraud"), np.float32),
        max_bin=settings.max_bin,
        feature_names=list(NAMES),
    )
    return xgb.train(booster_params(settings), data, num_boost_round=settings.rounds)


@pytest.mark.parametrize(("name", "datasets"), [("ray_train", 2), ("xgboost_ray", 1)])
def test_distributed_boosters_equal_those_of_one_process(name: str, datasets: int, tmp_path: Path) -> None:
    tables = [make_table(3001 - number, seed=number) for number in range(datasets)]
    unseen = make_table(4000, seed=9)
    settings = SETTINGS.model_copy(update={"engine": name})
    boosters = engine.fit([make_dataset(table) for table in tables], NAMES, settings, storage=tmp_path)
    truth = np.asarray(unseen.column("is_fraud"), np.bool_)
    for table, booster in zip(tables, boosters, strict=True):
        expected = average_precision(truth, predict(single_process(table, settings), matrix(unseen, NAMES)))
        assert average_precision(truth, predict(booster, matrix(unseen, NAMES))) == pytest.approx(
            expected, abs=1e-4
        )
        assert booster.num_boosted_rounds() == 30
        assert booster.feature_names == list(NAMES)
    assert list(tmp_path.iterdir()) == []


def test_shards_hold_every_row_once() -> None:
    table = make_table(1001, seed=4)
    shards = shard(make_dataset(table), NAMES, 3)
    lengths = [part.count() for part in shards.parts]
    assert lengths == [333, 334, 334]
    assert shards.rows == 1001
    seen = np.sort(np.concatenate([_column(part, "a") for part in shards.parts]))
    np.testing.assert_array_equal(seen, np.sort(_floats(table, "a")))


def _column(part: ray.data.Dataset, name: str) -> np.ndarray:
    return np.concatenate([_floats(batch, name) for batch in part.iter_batches(batch_format="pyarrow")])


def _floats(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy().astype(np.float64)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (make_table(1, seed=5), "fewer than train.workers = 2"),
        (make_table(50, seed=5).filter(pa.array([False] * 50)), "there are 0"),
        (make_table(50, seed=5).set_column(1, "is_fraud", pa.array([False] * 50)), "no fraud"),
        (make_table(50, seed=5).set_column(1, "is_fraud", pa.array([True] * 50)), "nothing but fraud"),
    ],
)
def test_data_that_cannot_train_are_refused_before_anything_starts(
    table: pa.Table, words: str, tmp_path: Path
) -> None:
    with pytest.raises(NotEnoughDataError, match=words):
        engine.fit([ray.data.from_arrow(table)], NAMES, SETTINGS, storage=tmp_path)


def test_relative_storage_is_refused() -> None:
    with pytest.raises(ConfigError, match="absolute"):
        engine.fit([], NAMES, SETTINGS, storage=Path("checkpoints"))


@pytest.mark.parametrize("name", ["ray_train", "xgboost_ray"])
def test_more_workers_than_the_cluster_holds_are_refused(name: str, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"engine": name, "workers": 5})
    with pytest.raises(ClusterError, match=r"5 x .* CPUs and the cluster has 2"):
        engine.fit([make_dataset(make_table(300, seed=6))], NAMES, settings, storage=tmp_path)
