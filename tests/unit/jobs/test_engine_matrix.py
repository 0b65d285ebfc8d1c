from __future__ import annotations

from pathlib import Path

import numpy as np
import xgboost as xgb

from fraud.jobs.matrix import external_matrix, quantile_matrix

NAMES = ("a", "b")


def make_rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2)).astype(np.float32)
    y = (x[:, 0] > 0.5).astype(np.float32)
    x[rng.random(count) < 0.1, 0] = np.nan
    return x, y


def grow(rows: xgb.DMatrix) -> list[str]:
    params = {"objective": "binary:logistic", "max_bin": 64, "base_score": 0.5, "nthread": 1}
    return xgb.train(params, rows, num_boost_round=5).get_dump()


def test_streamed_matrix_trains_the_same_trees_as_one_array() -> None:
    x, y = make_rows(1_000, seed=1)
    batches = [(x[:301], y[:301]), (x[301:], y[301:])]
    streamed = quantile_matrix(lambda: batches, NAMES, max_bin=64, threads=1)
    whole = xgb.QuantileDMatrix(x, label=y, max_bin=64, feature_names=list(NAMES))
    assert grow(streamed) == grow(whole)


def test_bins_on_disk_train_the_same_trees_as_bins_in_memory(tmp_path: Path) -> None:
    x, y = make_rows(1_000, seed=3)
    pages = [(x[first : first + 300], y[first : first + 300]) for first in range(0, 1_000, 300)]
    on_disk = external_matrix(lambda: pages, NAMES, max_bin=64, threads=1, cache=tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) > 0
    assert grow(on_disk) == grow(quantile_matrix(lambda: pages, NAMES, max_bin=64, threads=1))


def test_streamed_matrix_holds_every_row_and_the_names() -> None:
    x, y = make_rows(777, seed=2)
    batches = [(x[first : first + 100], y[first : first + 100]) for first in range(0, 777, 100)]
    streamed = quantile_matrix(lambda: batches, NAMES, max_bin=16, threads=1)
    assert streamed.num_row() == 777
    assert streamed.feature_names == list(NAMES)
    np.testing.assert_array_equal(streamed.get_label(), y)
