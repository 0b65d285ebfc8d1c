"""The curve of a trial: every fold trained with the same parameters, measured after every few rounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from fraud.model.booster import booster_params
from fraud.settings import TrainSettings
from tuning.space import Params, apply
from tuning.work import FoldData, Work


@dataclass(frozen=True, slots=True)
class Point:
    """How good a trial is so far.

    Attributes:
        value: The best mean over the folds, so that it never falls.
        rounds: Rounds of the best mean.
        round: Rounds trained.
        done: Whether that is all the trial was asked for.
    """

    value: float
    rounds: int
    round: int
    done: bool


class Curves:
    """Draws the curves of one process, which builds the matrices of the folds once for all its trials.

    Building them is the larger part of a short training, and they depend on no parameter but ``max_bin``.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._validation = [xgb.DMatrix(fold.test_x, nthread=1) for fold in work.folds]
        self._training: list[xgb.QuantileDMatrix] = []
        self._max_bin = 0

    def draw(self, params: Params) -> Iterator[Point]:
        """Yield a point every ``report_rounds`` rounds and at the last one."""
        settings = apply(self._work.train, params)
        best, best_round = -1.0, 0
        grow = self._grow_here if self._work.workers == 1 else self._grow_distributed
        for round_, boosters in grow(settings):
            mean = self._mean(boosters, round_)
            if mean > best:
                best, best_round = mean, round_
            yield Point(best, best_round, round_, done=round_ == settings.rounds)

    def _mean(self, boosters: list[xgb.Booster], rounds: int) -> float:
        values = [
            self._work.objective(fold.answers, _scores(booster, matrix, rounds))
            for fold, matrix, booster in zip(self._work.folds, self._validation, boosters, strict=True)
        ]
        return float(np.mean(values))

    def _grow_here(self, settings: TrainSettings) -> Iterator[tuple[int, list[xgb.Booster]]]:
        matrices = self._matrices(settings.max_bin)
        params = booster_params(settings) | {"nthread": 1}
        boosters = [xgb.Booster(params, [matrix]) for matrix in matrices]
        done = 0
        for target in steps(settings.rounds, self._work.report_rounds):
            for booster, matrix in zip(boosters, matrices, strict=True):
                for round_ in range(done, target):
                    booster.update(matrix, round_)
            done = target
            yield done, boosters

    def _matrices(self, max_bin: int) -> list[xgb.QuantileDMatrix]:
        if max_bin != self._max_bin:
            self._training = [_matrix(fold, max_bin) for fold in self._work.folds]
            self._max_bin = max_bin
        return self._training

    def _grow_distributed(self, settings: TrainSettings) -> Iterator[tuple[int, list[xgb.Booster]]]:
        # Only here: it brings Ray Train, which a trial in its own process does not need.
        from fraud.jobs import engine

        work = self._work
        datasets = [fold.train for fold in work.folds if fold.train is not None]
        settings = settings.model_copy(update={"workers": work.workers})
        boosters = engine.fit(datasets, work.names, settings, storage=work.storage)
        for target in steps(settings.rounds, work.report_rounds):
            yield target, boosters


def steps(rounds: int, every: int | None) -> list[int]:
    """Return the rounds to measure at: every so many, and the last."""
    return [rounds] if every is None else [*range(every, rounds, every), rounds]


def _scores(booster: xgb.Booster, matrix: xgb.DMatrix, rounds: int) -> NDArray[np.float64]:
    # A booster remembers its scores of a matrix: only the trees since the last point are walked.
    scores = booster.predict(matrix, iteration_range=(0, rounds), validate_features=False)
    return np.asarray(scores, np.float64)


def _matrix(fold: FoldData, max_bin: int) -> xgb.QuantileDMatrix:
    return xgb.QuantileDMatrix(
        fold.train_x, label=fold.train_y.astype(np.float32), max_bin=max_bin, nthread=1
    )
