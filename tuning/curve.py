"""The curve of a trial: every fold trained with the same parameters, measured after every few rounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xgboost as xgb

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
        for round_, mean in grow(settings):
            if mean > best:
                best, best_round = mean, round_
            yield Point(best, best_round, round_, done=round_ == settings.rounds)

    def _grow_here(self, settings: TrainSettings) -> Iterator[tuple[int, float]]:
        matrices = self._matrices(settings.max_bin)
        params = booster_params(settings) | {"nthread": 1}
        boosters: list[xgb.Booster | None] = [None] * len(matrices)
        for target in steps(settings.rounds, self._work.report_rounds):
            values = []
            for place, matrix in enumerate(matrices):
                booster = boosters[place] or xgb.Booster(params, [matrix])
                for round_ in range(booster.num_boosted_rounds(), target):
                    booster.update(matrix, round_)
                values.append(self._value(place, booster, target))
                # With many bins a booster is large: none is kept that is not grown on.
                boosters[place] = booster if target < settings.rounds else None
            yield target, float(np.mean(values))

    def _grow_distributed(self, settings: TrainSettings) -> Iterator[tuple[int, float]]:
        # Only here: it brings Ray Train, which a trial in its own process does not need.
        from fraud.jobs import engine

        work = self._work
        datasets = [fold.train for fold in work.folds if fold.train is not None]
        settings = settings.model_copy(update={"workers": work.workers})
        boosters = engine.fit(datasets, work.names, settings, storage=work.storage)
        for target in steps(settings.rounds, work.report_rounds):
            values = [self._value(place, booster, target) for place, booster in enumerate(boosters)]
            yield target, float(np.mean(values))

    def _value(self, place: int, booster: xgb.Booster, rounds: int) -> float:
        # A booster remembers its scores of a matrix: only the trees since the last point are walked.
        scores = booster.predict(
            self._validation[place], iteration_range=(0, rounds), validate_features=False
        )
        return self._work.objective(self._work.folds[place].answers, np.asarray(scores, np.float64))

    def _matrices(self, max_bin: int) -> list[xgb.QuantileDMatrix]:
        if max_bin != self._max_bin:
            self._training = [_matrix(fold, max_bin) for fold in self._work.folds]
            self._max_bin = max_bin
        return self._training


def steps(rounds: int, every: int | None) -> list[int]:
    """Return the rounds to measure at: every so many, and the last."""
    return [rounds] if every is None else [*range(every, rounds, every), rounds]


def _matrix(fold: FoldData, max_bin: int) -> xgb.QuantileDMatrix:
    return xgb.QuantileDMatrix(
        fold.train_x, label=fold.train_y.astype(np.float32), max_bin=max_bin, nthread=1
    )
