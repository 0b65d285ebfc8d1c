"""What the driver does when a trial ends: journal it, and say how the search stands."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from ray.tune import Callback
from ray.tune.experiment import Trial

from tuning.journal import Finished, Journal
from tuning.trial import ROUND, ROUNDS, VALUE

logger = logging.getLogger(__name__)

BEST: Final = "*"


class Table:
    """The trials so far as lines of equal columns: one for each trial, a star at a new best."""

    def __init__(self, metric: str, *, trials: int) -> None:
        self._metric = metric
        self._trials = trials
        self._names: list[str] = []
        self._best = float("-inf")

    def head(self, names: Sequence[str]) -> str:
        """Return the line of column names."""
        self._names = list(names)
        cells = ["trial", f"{self._metric} ", "best/trained", "seconds", *self._names]
        return self._line(cells)

    def row(self, number: int, trial: Finished) -> str:
        """Return the line of a trial: its value, the rounds that it had then, and those trained."""
        star = BEST if trial.value > self._best else " "
        self._best = max(self._best, trial.value)
        value = f"{trial.value:.4f}{star}"
        params = [f"{trial.params[name]:.4g}" for name in self._names]
        return self._line(
            [
                f"{number}/{self._trials}",
                value,
                f"{trial.rounds}/{trial.trained_rounds}",
                f"{trial.seconds:.1f}",
                *params,
            ]
        )

    def _line(self, cells: Sequence[str]) -> str:
        widths = [9, len(self._metric) + 1, 12, 8, *(max(len(name), 6) for name in self._names)]
        return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


class Progress(Callback):  # type: ignore[misc]
    """Journals trials as they end and logs a line of the table for each."""

    def __init__(self, journal: Journal, table: Table) -> None:
        self._journal = journal
        self._table = table
        self._ended = 0
        for trial in journal.trials():
            self._say(trial)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Journal a trial that ran to its last round or was stopped early."""
        del iteration, trials, info
        last = trial.last_result
        if VALUE not in last:
            return
        seconds = round(float(last["time_total_s"]), 3)
        finished = Finished(
            dict(trial.config), float(last[VALUE]), int(last[ROUNDS]), int(last[ROUND]), seconds
        )
        self._journal.append(finished)
        self._say(finished)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Say that a trial failed; the search goes on."""
        del iteration, trials, info
        logger.warning("a trial failed, the search goes on", extra={"trial": trial.trial_id})

    def _say(self, trial: Finished) -> None:
        if self._ended == 0:
            logger.info(self._table.head(list(trial.params)))
        self._ended += 1
        logger.info(self._table.row(self._ended, trial))
