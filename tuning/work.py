"""What all trials of a search share; it lies in the object store once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fraud.settings import TrainSettings
from tuning.objective import Answers, Objective

if TYPE_CHECKING:
    from ray.data import Dataset


@dataclass(frozen=True, eq=False)
class FoldData:
    """One fold in memory.

    Attributes:
        name: The fold's.
        train_x, train_y: Features ``(n, f)`` and truth ``(n,)`` to train on.
        test_x, answers: Features ``(m, f)`` and what the m rows turned out to be, to validate on.
        train: The training rows as a dataset, where trials are distributed.
    """

    name: str
    train_x: NDArray[np.float32]
    train_y: NDArray[np.bool_]
    test_x: NDArray[np.float32]
    answers: Answers
    train: Dataset | None = None


@dataclass(frozen=True)
class Work:
    """A search as its trials see it.

    Attributes:
        folds: The validation folds.
        names: Feature columns in model order.
        train: Settings that the trial's parameters are put into.
        objective: What is measured on each fold.
        workers: 1 trains in the trial's process, more trains on so many workers.
        report_rounds: Rounds between two reports; None reports the last round alone.
        storage: Absolute folder for the checkpoints of distributed trainings.
    """

    folds: tuple[FoldData, ...]
    names: tuple[str, ...]
    train: TrainSettings
    objective: Objective
    workers: int
    report_rounds: int | None
    storage: Path
