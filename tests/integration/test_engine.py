from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray.data
import xgboost as xgb

from cluster.runtime import find_ours
from fraud.errors import ClusterError, ConfigError, NotEnoughDataError, SchemaError
from fraud.features.encode import matrix
from fraud.jobs import engine
from fraud.jobs.prior import corrected
from fraud.jobs.sampling import keep
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
    table = keep(table, "is_fraud", settings.negative_share)
    data = xgb.QuantileDMatrix(
        matrix(table, NAMES),
        label=np.asarray(table.column("is_fraud"), np.float32),
        max_bin=settings.max_bin,
        feature_names=list(NAMES),
    )
    booster = xgb.train(booster_params(settings), data, num_boost_round=settings.rounds)
    return corrected(booster, settings.negative_share)


def test_shards_hold_every_row_once(tmp_path: Path) -> None:
    table = make_table(1001, seed=4)
    shards = shard(make_dataset(table), NAMES, SETTINGS.model_copy(update={"workers": 3}), tmp_path)
    assert [sum(map(len, part)) for part in shards.parts] == [333, 334, 334]
    assert shards.rows == 1001
    seen = np.concatenate([piece.features(3) for part in shards.parts for piece in part])
    expected = matrix(table, NAMES)
    np.testing.assert_array_equal(seen[np.lexsort(seen.T)], expected[np.lexsort(expected.T)])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (make_table(1, seed=5), "fewer than train.workers = 2"),
        (make_table(50, seed=5).filter(pa.array([False] * 50)), "there are 0"),
        (make_table(50, seed=5), r"hold 3 frauds, fewer than train\.min_frauds = 5"),
        (make_table(50, seed=5).set_column(1, "is_fraud", pa.array([False] * 50)), "no fraud"),
        (make_table(50, seed=5).set_column(1, "is_fraud", pa.array([True] * 50)), "nothing but fraud"),
    ],
)
def test_data_that_cannot_train_are_refused_before_anything_starts(
    table: pa.Table, words: str, tmp_path: Path
) -> None:
    with pytest.raises(NotEnoughDataError, match=words):
        engine.fit([ray.data.from_arrow(table)], NAMES, SETTINGS, storage=tmp_path)


def test_a_missing_column_is_named_before_anything_starts(tmp_path: Path) -> None:
    table = make_table(50, seed=5).drop_columns(["b"])
    with pytest.raises(Exception, match="column b is missing") as caught:
        engine.fit([make_dataset(table)], NAMES, SETTINGS, storage=tmp_path)
    assert isinstance(find_ours(caught.value), SchemaError)


def test_relative_storage_and_an_unknown_engine_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absolute"):
        engine.fit([], NAMES, SETTINGS, storage=Path("checkpoints"))
    with pytest.raises(ConfigError, match="'horovod' is none of ray_train, xgboost_ray"):
        engine.fit([], NAMES, SETTINGS.model_copy(update={"engine": "horovod"}), storage=tmp_path)


def test_more_workers_than_the_cluster_holds_are_refused(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"workers": 5})
    with pytest.raises(ClusterError, match=r"5 x 0\.5 CPUs, the cluster has room for 4"):
        engine.fit([make_dataset(make_table(300, seed=6))], NAMES, settings, storage=tmp_path)


@pytest.mark.parametrize(
    ("datasets", "changes"),
    [
        (2, {"engine": "ray_train", "external_memory": True}),
        (1, {"engine": "xgboost_ray", "negative_share": 0.5}),
    ],
)
def test_distributed_boosters_equal_those_of_one_process(
    datasets: int, changes: dict[str, Any], tmp_path: Path
) -> None:
    tables = [make_table(3001 - number, seed=number) for number in range(datasets)]
    unseen = make_table(4000, seed=9)
    settings = SETTINGS.model_copy(update=changes)
    boosters = engine.fit([make_dataset(table) for table in tables], NAMES, settings, storage=tmp_path)
    truth = np.asarray(unseen.column("is_fraud"), np.bool_)
    for table, booster in zip(tables, boosters, strict=True):
        expected, scores = (
            predict(each, matrix(unseen, NAMES)) for each in (single_process(table, settings), booster)
        )
        assert average_precision(truth, scores) == pytest.approx(average_precision(truth, expected), abs=1e-4)
        assert scores.mean() == pytest.approx(expected.mean(), rel=1e-3)
        assert booster.num_boosted_rounds() == 30
        assert booster.feature_names == list(NAMES)
    assert list(tmp_path.iterdir()) == []
    assert list(Path(tempfile.gettempdir()).glob("fraud-train-*")) == []
