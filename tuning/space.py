"""What is searched: a range for each parameter of a training. Nothing else names one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from fraud.settings import TrainSettings

Params = Mapping[str, int | float]
Grid = Mapping[str, Sequence[int | float]]


@dataclass(frozen=True, slots=True)
class Range:
    """A closed range of a setting of ``TrainSettings``, of integers where both ends are.

    ``log`` spreads the draws evenly over orders of magnitude.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int = 1


SPACE: Final[Mapping[str, Range]] = {
    "max_depth": Range(2, 8),
    "learning_rate": Range(0.03, 0.3, log=True),
    "rounds": Range(50, 300, step=10),
    "min_child_weight": Range(0.1, 20.0, log=True),
    "subsample": Range(0.5, 1.0),
    "colsample_bytree": Range(0.2, 1.0),
    "reg_lambda": Range(0.1, 20.0, log=True),
}

MAX_ROUNDS: Final = int(SPACE["rounds"].high)


def apply(train: TrainSettings, params: Params) -> TrainSettings:
    """Return the settings with these parameters in place of their own, checked like any settings."""
    return TrainSettings.model_validate({**train.model_dump(), **params})


def combinations(grid: Grid, train: TrainSettings) -> list[dict[str, int | float]]:
    """Return every combination of a grid, the longest trainings first.

    So the last trial is a short one, and no other process waits long for it. Combinations that take as long
    stay in the grid's order.

    Args:
        grid: Values by parameter.
        train: What the grid does not name.
    """
    every = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]

    def work(params: Params) -> int:
        settings = apply(train, params)
        return settings.rounds * settings.max_depth

    return sorted(every, key=work, reverse=True)
