"""What a training worker does, whichever engine started it: bin its rows, boost, keep what is reached.

Everything here runs inside the collective of all workers.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import xgboost as xgb
from xgboost.collective import Op, allreduce, get_rank

from fraud.jobs import shards
from fraud.jobs.checkpoints import Checkpoints
from fraud.jobs.matrix import BATCH_ROWS, PAGE_ROWS, external_matrix, quantile_matrix
from fraud.jobs.shards import Piece
from fraud.model.booster import booster_params, to_json
from fraud.settings import TrainSettings

logger = logging.getLogger(__name__)

LOG_ROUNDS: Final = 10


@dataclass(frozen=True)
class Examples:
    """A worker's rows of one dataset.

    Attributes:
        pieces: Where they are.
        names: Feature columns in model order.
        rows: Rows of all workers together, to be checked.
        name: What the folder of its files is called where they lie on disk; no other rows have it.
    """

    pieces: tuple[Piece, ...]
    names: tuple[str, ...]
    rows: int
    name: str

    def matrix(self, settings: TrainSettings) -> xgb.DMatrix:
        """Return the binned matrix of these rows; files it keeps on disk go when it does."""
        sizes = {"max_bin": settings.max_bin, "threads": settings.threads_per_worker}
        if not settings.external_memory:
            rows = partial(shards.batches, self.pieces, len(self.names), BATCH_ROWS)
            return self._checked(quantile_matrix(rows, self.names, **sizes))
        cache = Path(tempfile.gettempdir()) / f"fraud-{self.name}"
        shutil.rmtree(cache, ignore_errors=True)  # of a worker that was killed
        cache.mkdir()
        pages = partial(shards.batches, self.pieces, len(self.names), PAGE_ROWS)
        matrix = external_matrix(pages, self.names, cache=cache, **sizes)
        weakref.finalize(matrix, shutil.rmtree, cache, ignore_errors=True)
        return self._checked(matrix)

    def _checked(self, matrix: xgb.DMatrix) -> xgb.DMatrix:
        held = int(allreduce(np.array([matrix.num_row()], np.int64), Op.SUM)[0])
        if held != self.rows:
            raise RuntimeError(f"the workers hold {held} rows together, the dataset has {self.rows}")
        return matrix


@dataclass(frozen=True)
class Progress:
    """How far the training of one booster is.

    Attributes:
        booster: Its number among those of the run, from 0.
        of: Boosters of the run.
        rounds: To train altogether.
    """

    booster: int
    of: int
    rounds: int


class Keep(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Keeps the booster every few rounds, and says how far it is; the first rank does so for all."""

    def __init__(self, checkpoints: Checkpoints, progress: Progress, every: int) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._progress = progress
        self._every = every

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: dict[str, Any]) -> bool:
        """Keep and log; never stops the training. ``epoch`` starts anew where a training is resumed."""
        del epoch, evals_log
        if get_rank() == 0:
            done, last = model.num_boosted_rounds(), self._progress.rounds
            if done == last or done % self._every == 0:
                self._checkpoints.save(self._progress.booster, to_json(model))
            if done == last or done % LOG_ROUNDS == 0:
                logger.info("boosting, %d of %d rounds", done, last, extra=self._fields(done))
        return False

    def _fields(self, done: int) -> dict[str, int]:
        progress = self._progress
        return {"booster": progress.booster + 1, "of": progress.of, "round": done, "rounds": progress.rounds}


def boost(
    examples: Examples,
    settings: TrainSettings,
    checkpoints: Checkpoints,
    progress: Progress,
    kept: bytes | None,
) -> bytes:
    """Train a booster from where it was kept, and return its JSON.

    Args:
        examples: This worker's rows.
        settings: Parameters and rounds.
        checkpoints: Where the booster is kept.
        progress: Which booster it is.
        kept: What was reached before, the same on every worker; None to begin.
    """
    start = None if kept is None else xgb.Booster(model_file=bytearray(kept))
    done = 0 if start is None else start.num_boosted_rounds()
    if kept is not None and done >= settings.rounds:
        return kept
    booster = xgb.train(
        booster_params(settings),
        examples.matrix(settings),
        num_boost_round=settings.rounds - done,
        xgb_model=start,
        callbacks=[Keep(checkpoints, progress, settings.checkpoint_rounds)],
    )
    return to_json(booster)
