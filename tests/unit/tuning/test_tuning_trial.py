from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb
from sklearn.metrics import average_precision_score

from fraud.model.booster import booster_params, predict
from fraud.settings import TrainSettings
from tuning.space import apply
from tuning.trial import FoldData, Work, curve, steps

PARAMS = {"max_depth": 2, "learning_rate": 0.3, "rounds": 12}


def make_fold(seed: int) -> FoldData:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(600, 3)).astype(np.float32)
    y = x[:, 0] + rng.normal(size=600) > 1.5
    return FoldData(str(seed), x[:400], y[:400], x[400:], y[400:])


def make_work(folds: tuple[FoldData, ...], *, every: int) -> Work:
    return Work(folds, ("a", "b", "c"), TrainSettings(max_bin=64), 1, every, Path("/unused"))


def reference_precision(fold: FoldData, rounds: int) -> float:
    settings = apply(TrainSettings(max_bin=64), {**PARAMS, "rounds": rounds})
    data = xgb.QuantileDMatrix(fold.train_x, label=fold.train_y.astype(np.float32), max_bin=64)
    booster = xgb.train(booster_params(settings), data, num_boost_round=rounds)
    return float(average_precision_score(fold.test_y, predict(booster, fold.test_x)))


@pytest.mark.parametrize(
    ("rounds", "every", "expected"), [(12, 5, [5, 10, 12]), (10, 5, [5, 10]), (3, 10, [3]), (1, 1, [1])]
)
def test_last_round_is_reported_once(rounds: int, every: int, expected: list[int]) -> None:
    assert steps(rounds, every) == expected


def test_curve_is_the_mean_over_folds_of_separate_trainings() -> None:
    folds = (make_fold(1), make_fold(2))
    (report,) = curve(PARAMS, make_work(folds, every=12))
    expected = (reference_precision(folds[0], 12) + reference_precision(folds[1], 12)) / 2
    assert report == {"average_precision": pytest.approx(expected, abs=1e-12), "rounds": 12, "round": 12}


def test_report_names_the_best_round_so_far() -> None:
    fold = make_fold(7)
    reports = list(curve(PARAMS, make_work((fold,), every=4)))
    at = {rounds: reference_precision(fold, rounds) for rounds in (4, 8, 12)}
    assert at[8] > at[12]  # a fold that overfits, or the last round would be the best anyway
    assert [report["round"] for report in reports] == [4, 8, 12]
    for report in reports:
        seen = {rounds: value for rounds, value in at.items() if rounds <= report["round"]}
        assert report["average_precision"] == pytest.approx(max(seen.values()), abs=1e-12)
        assert at[int(report["rounds"])] == pytest.approx(max(seen.values()), abs=1e-12)
