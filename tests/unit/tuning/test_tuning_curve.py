from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb
from sklearn.metrics import average_precision_score

from fraud.model.booster import booster_params, predict
from fraud.settings import TrainSettings
from tuning.curve import Curves, Point, steps
from tuning.objective import Answers, Objective
from tuning.space import apply
from tuning.work import FoldData, Work

PARAMS = {"max_depth": 2, "learning_rate": 0.3, "rounds": 12}
TRAIN = TrainSettings(max_bin=64)


def make_fold(seed: int) -> FoldData:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(600, 3)).astype(np.float32)
    y = x[:, 0] + rng.normal(size=600) > 1.5
    answers = Answers(y[400:], np.zeros(200, np.int32), pa.nulls(200, pa.string()))
    return FoldData(str(seed), x[:400], y[:400], x[400:], answers)


def make_work(*folds: FoldData, every: int | None) -> Work:
    objective = Objective("average_precision", 100)
    return Work(folds, ("a", "b", "c"), TRAIN, objective, 1, every, Path("/unused"))


def reference_precision(fold: FoldData, rounds: int, **changes: float) -> float:
    settings = apply(TRAIN, {**PARAMS, "rounds": rounds, **changes})
    data = xgb.QuantileDMatrix(fold.train_x, label=fold.train_y.astype(np.float32), max_bin=settings.max_bin)
    booster = xgb.train(booster_params(settings), data, num_boost_round=rounds)
    return float(average_precision_score(fold.answers.is_fraud, predict(booster, fold.test_x)))


@pytest.mark.parametrize(
    ("rounds", "every", "expected"),
    [(12, 5, [5, 10, 12]), (10, 5, [5, 10]), (3, 10, [3]), (1, 1, [1]), (12, None, [12])],
)
def test_last_round_is_measured_once(rounds: int, every: int | None, expected: list[int]) -> None:
    assert steps(rounds, every) == expected


def test_curve_is_the_mean_over_folds_of_separate_trainings() -> None:
    folds = make_fold(1), make_fold(2)
    (point,) = Curves(make_work(*folds, every=None)).draw(PARAMS)
    expected = (reference_precision(folds[0], 12) + reference_precision(folds[1], 12)) / 2
    assert point == Point(expected, 12, 12, done=True)


def test_point_names_the_best_round_so_far() -> None:
    fold = make_fold(7)
    points = list(Curves(make_work(fold, every=4)).draw(PARAMS))
    at = {rounds: reference_precision(fold, rounds) for rounds in (4, 8, 12)}
    assert at[8] > at[12]  # a fold that overfits, or the last round would be the best anyway
    assert [(point.round, point.done) for point in points] == [(4, False), (8, False), (12, True)]
    for point in points:
        seen = {rounds: value for rounds, value in at.items() if rounds <= point.round}
        assert point.value == max(seen.values())
        assert at[point.rounds] == point.value


def test_trials_of_one_process_do_not_change_one_another() -> None:
    fold = make_fold(3)
    curves = Curves(make_work(fold, every=None))
    for changes in ({"learning_rate": 0.1}, {"subsample": 0.6}, {}, {"learning_rate": 0.1}):
        (point,) = curves.draw({**PARAMS, **changes})
        assert point.value == reference_precision(fold, 12, **changes)


def test_matrices_are_built_once_for_all_trials_of_the_same_bins() -> None:
    curves = Curves(make_work(make_fold(1), make_fold(2), every=None))
    built = curves._matrices(64)
    list(curves.draw(PARAMS))
    assert curves._matrices(64) is built
    other = curves._matrices(16)
    assert [matrix.num_row() for matrix in other] == [400, 400]
    assert other is not built


def test_trial_with_bins_of_its_own_is_trained_with_them() -> None:
    fold = make_fold(5)
    curves = Curves(make_work(fold, every=None))
    list(curves.draw(PARAMS))
    (coarse,) = curves.draw({**PARAMS, "max_bin": 4})
    assert coarse.value == reference_precision(fold, 12, max_bin=4) != reference_precision(fold, 12)
