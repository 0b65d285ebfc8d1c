from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb

from fraud.jobs.prior import corrected
from fraud.jobs.sampling import keep
from fraud.model.booster import predict, to_json


def make_rows(count: int) -> pa.Table:
    return pa.table(
        {
            "transaction_id": [f"t{number}" for number in range(count)],
            "is_fraud": np.arange(count) % 100 == 0,
        }
    )


def ids(rows: pa.Table, *, fraud: bool) -> set[str]:
    chosen = rows.filter(pa.array(np.asarray(rows.column("is_fraud")) == fraud))
    return set(chosen.column("transaction_id").to_pylist())


def test_every_fraud_stays_and_about_the_share_of_the_genuine_rows() -> None:
    rows = make_rows(20_000)
    kept = keep(rows, "is_fraud", 0.25)
    assert ids(kept, fraud=True) == ids(rows, fraud=True)
    # 19,800 genuine rows, a standard deviation of 61.
    assert len(ids(kept, fraud=False)) == pytest.approx(4_950, abs=250)


def test_the_same_rows_stay_in_whatever_order_and_blocks_they_come() -> None:
    rows = make_rows(2_000)
    whole = keep(rows, "is_fraud", 0.3)
    backwards = keep(rows.take(pa.array(np.arange(2_000)[::-1])), "is_fraud", 0.3)
    halves = pa.concat_tables(keep(rows.slice(first, 1_000), "is_fraud", 0.3) for first in (0, 1_000))
    assert ids(whole, fraud=False) == ids(backwards, fraud=False) == ids(halves, fraud=False)
    assert ids(keep(rows, "is_fraud", 0.1), fraud=False) < ids(whole, fraud=False)


def test_a_share_of_one_keeps_everything_and_corrects_nothing() -> None:
    rows, booster = make_rows(100), train(*make_examples(500, seed=0))
    assert keep(rows, "is_fraud", 1.0) is rows
    assert corrected(booster, 1.0) is booster


def make_examples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3)).astype(np.float32)
    return x, rng.random(count) < 1 / (1 + np.exp(5.5 - x[:, 0] - x[:, 1] * x[:, 2]))


def train(x: np.ndarray, y: np.ndarray) -> xgb.Booster:
    params = {"objective": "binary:logistic", "base_score": 0.5, "max_depth": 3, "nthread": 1}
    return xgb.train(params, xgb.DMatrix(x, y.astype(np.float32)), num_boost_round=40)


def test_corrected_scores_say_the_true_share_of_frauds() -> None:
    x, y = make_examples(40_000, seed=1)
    share = 0.1
    stays = y | (np.random.default_rng(2).random(len(y)) < share)
    booster = train(x[stays], y[stays])
    unseen, truth = make_examples(40_000, seed=3)
    prior = float(truth.mean())
    assert 0.005 < prior < 0.02
    uncorrected = float(predict(booster, unseen).mean())
    assert uncorrected > 5 * prior
    assert float(predict(corrected(booster, share), unseen).mean()) == pytest.approx(prior, rel=0.15)


def test_correction_moves_every_margin_by_the_logarithm_of_the_share() -> None:
    x, y = make_examples(2_000, seed=4)
    booster = train(x, y)
    before, after = (predict(each, x) for each in (booster, corrected(booster, 0.02)))
    odds_before, odds_after = before / (1 - before), after / (1 - after)
    np.testing.assert_allclose(odds_after / odds_before, 0.02, rtol=1e-4)
    assert corrected(booster, 0.02).num_boosted_rounds() == 40
    assert to_json(booster) == to_json(train(x, y))
