from __future__ import annotations

import numpy as np
import pyarrow as pa
import xgboost as xgb
from hypothesis import given
from hypothesis import strategies as st

from fraud.features.encode import matrix
from fraud.jobs.matrix import quantile_matrix
from fraud.jobs.shards import cuts

NAMES = ("a", "b")


def make_table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    return pa.table(
        {
            "is_fraud": pa.array(a > 0.5),
            "b": pa.array(rng.normal(size=rows).astype(np.float32)),
            "a": pa.array(a.astype(np.float32), mask=rng.random(rows) < 0.1),
        }
    )


def test_streamed_matrix_trains_the_same_trees_as_one_array() -> None:
    table = make_table(1_000, seed=1)
    streamed = quantile_matrix(
        lambda: [table.slice(0, 301), table.slice(301, 0), table.slice(301)], NAMES, max_bin=64, threads=1
    )
    whole = xgb.QuantileDMatrix(
        matrix(table, NAMES),
        label=np.asarray(table.column("is_fraud"), np.float32),
        max_bin=64,
        feature_names=list(NAMES),
    )
    params = {"objective": "binary:logistic", "max_bin": 64, "base_score": 0.5, "nthread": 1}
    trees = [xgb.train(params, each, num_boost_round=5).get_dump() for each in (streamed, whole)]
    assert trees[0] == trees[1]


def test_streamed_matrix_holds_every_row_and_the_names() -> None:
    table = make_table(777, seed=2)
    batches = [table.slice(first, 100) for first in range(0, 777, 100)]
    streamed = quantile_matrix(lambda: batches, NAMES, max_bin=16, threads=1)
    assert streamed.num_row() == 777
    assert streamed.feature_names == list(NAMES)
    np.testing.assert_array_equal(streamed.get_label(), np.asarray(table.column("is_fraud"), np.float32))


@given(rows=st.integers(1, 10_000), workers=st.integers(1, 50))
def test_cuts_leave_no_part_empty_and_no_two_unequal(rows: int, workers: int) -> None:
    if rows < workers:
        return
    edges = [0, *cuts(rows, workers), rows]
    lengths = np.diff(edges)
    assert len(lengths) == workers
    assert lengths.min() >= 1
    assert lengths.max() - lengths.min() <= 1
