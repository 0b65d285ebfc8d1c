"""What the driver does when a trial ends: journal it, and say how the search stands."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from tuning import journal
from tuning.journal import Finished
from tuning.trial import METRIC, ROUND, ROUNDS

logger = logging.getLogger(__name__)


class Progress(Callback):  # type: ignore[misc]
    """Journals trials as they end and logs one line for each."""

    def __init__(self, file: Path, *, trials: int, finished: int) -> None:
        self._file = file
        self._trials = trials
        self._ended = finished
        self._best = 0.0

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Journal a trial that ran to its last round or was stopped early."""
        del iteration, trials, info
        last = trial.last_result
        if METRIC not in last:
            return
        seconds = round(float(last["time_total_s"]), 3)
        finished = Finished(
            dict(trial.config), float(last[METRIC]), int(last[ROUNDS]), int(last[ROUND]), seconds
        )
        journal.append(self._file, finished)
        self._ended += 1
        self._best = max(self._best, finished.average_precision)
        logger.info(
            "trial %d of %d ended: average precision %.4f at %d rounds, the best so far %.4f",
            self._ended,
            self._trials,
            finished.average_precision,
            finished.rounds,
            self._best,
        )

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Say that a trial failed; the search goes on."""
        del iteration, trials, info
        self._ended += 1
        logger.warning("trial %d of %d failed", self._ended, self._trials, extra={"trial": trial.trial_id})
