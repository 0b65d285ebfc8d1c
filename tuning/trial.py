"""One trial: train every fold with the same parameters, and say after every few rounds how good they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from ray import tune

from fraud.model.booster import booster_params, predict
from fraud.model.metrics import average_precision
from fraud.settings import TrainSettings
from tuning.space import Params, apply

if TYPE_CHECKING:
    from ray.data import Dataset

METRIC: Final = "average_precision"
"""The best mean over the folds so far, so that it never falls."""

ROUND: Final = "round"
"""Rounds trained so far: what ASHA counts."""

ROUNDS: Final = "rounds"
"""Rounds of the best mean."""


@dataclass(frozen=True, eq=False)
class FoldData:
    """One fold in memory.

    Attributes:
        name: The fold's.
        train_x, train_y: Features ``(n, f)`` and truth ``(n,)`` to train on.
        test_x, test_y: Features ``(m, f)`` and truth ``(m,)`` to validate on.
        train: The training rows as a dataset, where trials are distributed.
    """

    name: str
    train_x: NDArray[np.float32]
    train_y: NDArray[np.bool_]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.bool_]
    train: Dataset | None = None


@dataclass(frozen=True)
class Work:
    """What all trials of a search share; it lies in the object store once.

    Attributes:
        folds: The validation folds.
        names: Feature columns in model order.
        train: Settings that the trial's parameters are put into.
        workers: 1 trains in the trial's process, more trains on so many workers.
        report_rounds: Rounds between two reports.
        storage: Absolute folder for the checkpoints of distributed trainings.
    """

    folds: tuple[FoldData, ...]
    names: tuple[str, ...]
    train: TrainSettings
    workers: int
    report_rounds: int
    storage: Path


def run_trial(config: dict[str, int | float], work: Work) -> None:
    """Train with these parameters and report to Ray Tune."""
    for report in curve(config, work):
        tune.report(report)


def curve(params: Params, work: Work) -> Iterator[dict[str, float]]:
    """Yield how good these parameters are, every ``report_rounds`` rounds and at the last one.

    Yields:
        ``average_precision`` and ``rounds`` of the best report so far, ``round``, the rounds trained.
    """
    settings = apply(work.train, params)
    best, best_round = -1.0, 0
    grow = _grow_here if work.workers == 1 else _grow_distributed
    for round_, boosters in grow(settings, work):
        mean = _mean_average_precision(boosters, work.folds)
        if mean > best:
            best, best_round = mean, round_
        yield {METRIC: best, ROUNDS: best_round, ROUND: round_}


def steps(rounds: int, every: int) -> list[int]:
    """Return the rounds to report at: every so many, and the last."""
    return [*range(every, rounds, every), rounds]


def _mean_average_precision(boosters: Sequence[xgb.Booster], folds: Sequence[FoldData]) -> float:
    precisions = [
        average_precision(fold.test_y, predict(booster, fold.test_x))
        for booster, fold in zip(boosters, folds, strict=True)
    ]
    return float(np.mean(precisions))


def _grow_here(settings: TrainSettings, work: Work) -> Iterator[tuple[int, list[xgb.Booster]]]:
    params = booster_params(settings) | {"nthread": 1}
    matrices = [_matrix(fold, params) for fold in work.folds]
    boosters = [xgb.Booster(params, [matrix]) for matrix in matrices]
    done = 0
    for target in steps(settings.rounds, work.report_rounds):
        for booster, matrix in zip(boosters, matrices, strict=True):
            for round_ in range(done, target):
                booster.update(matrix, round_)
        done = target
        yield done, boosters


def _matrix(fold: FoldData, params: dict[str, Any]) -> xgb.QuantileDMatrix:
    label = fold.train_y.astype(np.float32)
    return xgb.QuantileDMatrix(fold.train_x, label=label, max_bin=params["max_bin"], nthread=1)


def _grow_distributed(settings: TrainSettings, work: Work) -> Iterator[tuple[int, list[xgb.Booster]]]:
    # Only here: it brings Ray Train, which a trial in its own process does not need.
    from fraud.jobs import engine

    datasets = [fold.train for fold in work.folds if fold.train is not None]
    settings = settings.model_copy(update={"workers": work.workers})
    boosters = engine.fit(datasets, work.names, settings, storage=work.storage)
    for target in steps(settings.rounds, work.report_rounds):
        yield target, [booster[:target] for booster in boosters]
