"""Distributed XGBoost on Ray Train: one worker group trains all boosters and survives a lost worker."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
import ray.train
import xgboost as xgb
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.xgboost import XGBoostConfig, XGBoostTrainer
from ray.train.xgboost.config import _get_xgboost_args
from xgboost.collective import CommunicatorContext, Op, allreduce

from fraud.jobs.matrix import BATCH_ROWS, quantile_matrix
from fraud.jobs.shards import Shards
from fraud.model.booster import booster_params, from_json, to_json
from fraud.settings import TrainSettings

logger = logging.getLogger(__name__)

CHECKPOINT_ROUNDS: Final = 50
"""A lost worker costs at most so many rounds; a report is a barrier over all workers, so not every round."""

LOG_ROUNDS: Final = 10
MAX_FAILURES: Final = 2

COLLECTIVE_TIMEOUT_S: Final = 120
"""How long a worker waits for another before it fails: a frozen peer is noticed, never waited for."""


class _Communicator(XGBoostConfig):  # type: ignore[misc]
    """Ray Train's communicator with a timeout, which it has no setting for."""

    @property
    def train_func_context(self) -> Callable[[], AbstractContextManager[None]]:
        return _communicator


@contextmanager
def _communicator() -> Iterator[None]:
    with CommunicatorContext(**_get_xgboost_args(), dmlc_timeout=COLLECTIVE_TIMEOUT_S):
        yield


@dataclass(frozen=True)
class _Plan:
    """What every worker of a run needs to know."""

    rows: tuple[int, ...]
    names: tuple[str, ...]
    params: dict[str, Any]
    rounds: int

    @property
    def max_bin(self) -> int:
        return int(self.params["max_bin"])

    @property
    def threads(self) -> int:
        return int(self.params["nthread"])


def train(
    datasets: Sequence[Shards], names: Sequence[str], settings: TrainSettings, *, storage: Path
) -> list[xgb.Booster]:
    """Train one booster per dataset in one worker group.

    Args:
        datasets: The shards of each dataset, one per worker.
        names: Feature columns in model order.
        settings: Parameters, rounds, workers and their resources.
        storage: Absolute folder for the run's checkpoints, seen by all nodes; they are removed at its end.
    """
    name = f"train-{uuid4().hex[:8]}"
    plan = _Plan(tuple(d.rows for d in datasets), tuple(names), booster_params(settings), settings.rounds)
    trainer = _trainer(plan, datasets, settings, run_config=_run_config(name, storage))
    try:
        result = trainer.fit()
    finally:
        shutil.rmtree(storage / name, ignore_errors=True)
    return [from_json(raw, path=name) for raw in result.return_value]


def _trainer(
    plan: _Plan, datasets: Sequence[Shards], settings: TrainSettings, *, run_config: ray.train.RunConfig
) -> DataParallelTrainer:
    parts = {
        _part(index, rank): part
        for index, shards in enumerate(datasets)
        for rank, part in enumerate(shards.parts)
    }
    return XGBoostTrainer(
        _loop,
        train_loop_config={"plan": plan},
        xgboost_config=_Communicator(),
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.workers, resources_per_worker={"CPU": settings.cpus_per_worker}
        ),
        run_config=run_config,
        datasets=parts,
        dataset_config=ray.train.DataConfig(datasets_to_split=[]),
    )


def _run_config(name: str, storage: Path) -> ray.train.RunConfig:
    return ray.train.RunConfig(
        name=name,
        storage_path=str(storage),
        failure_config=ray.train.FailureConfig(max_failures=MAX_FAILURES),
        checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        logging_config=ray.train.LoggingConfig(log_level="WARNING"),
    )


def _part(index: int, rank: int) -> str:
    return f"examples-{index}-part-{rank}"


def _loop(config: dict[str, Any]) -> list[bytes]:
    """Train every booster of the plan on this worker's parts, from where the last checkpoint ends."""
    plan: _Plan = config["plan"]
    boosters = _restore()
    for index in range(len(plan.rows)):
        done = boosters[index] if index < len(boosters) else None
        if done is None or done.num_boosted_rounds() < plan.rounds:
            boosters[index:] = [_boost(plan, index, boosters[:index], done)]
    return [to_json(booster) for booster in boosters]


def _boost(plan: _Plan, index: int, finished: list[xgb.Booster], start: xgb.Booster | None) -> xgb.Booster:
    part = ray.train.get_dataset_shard(_part(index, ray.train.get_context().get_world_rank()))
    examples = quantile_matrix(
        lambda: part.iter_batches(batch_size=BATCH_ROWS, batch_format="pyarrow"),
        plan.names,
        max_bin=plan.max_bin,
        threads=plan.threads,
    )
    _check_rows(examples, plan.rows[index])
    return xgb.train(
        plan.params,
        examples,
        num_boost_round=plan.rounds - (start.num_boosted_rounds() if start else 0),
        xgb_model=start,
        callbacks=[_Report(plan, index, finished)],
    )


def _check_rows(examples: xgb.DMatrix, expected: int) -> None:
    rows = int(allreduce(np.array([examples.num_row()], np.int64), Op.SUM)[0])
    if rows != expected:
        raise RuntimeError(f"the workers hold {rows} rows together, the dataset has {expected}")


class _Report(xgb.callback.TrainingCallback):  # type: ignore[misc]
    """Says how far the training is, and checkpoints it, on every worker alike."""

    def __init__(self, plan: _Plan, index: int, finished: list[xgb.Booster]) -> None:
        super().__init__()
        self._plan = plan
        self._index = index
        self._finished = finished

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: dict[str, Any]) -> bool:
        """Log and report; never stops the training. ``epoch`` starts at the rounds done before."""
        del epoch, evals_log
        done = model.num_boosted_rounds()
        last = done == self._plan.rounds
        progress = {
            "booster": self._index + 1,
            "of": len(self._plan.rows),
            "round": done,
            "rounds": self._plan.rounds,
        }
        first_rank = ray.train.get_context().get_world_rank() == 0
        if first_rank and (last or done % LOG_ROUNDS == 0):
            logger.info("boosting, %d of %d rounds", done, self._plan.rounds, extra=progress)
        if last or done % CHECKPOINT_ROUNDS == 0:
            _report(progress, [*self._finished, model] if first_rank else [])
        return False


def _report(progress: dict[str, int], boosters: list[xgb.Booster]) -> None:
    if not boosters:
        ray.train.report(progress)
        return
    with tempfile.TemporaryDirectory() as folder:
        for index, booster in enumerate(boosters):
            (Path(folder) / f"{index:04}.json").write_bytes(to_json(booster))
        ray.train.report(progress, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _restore() -> list[xgb.Booster]:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return []
    with checkpoint.as_directory() as folder:
        return [from_json(file.read_bytes(), path=str(file)) for file in sorted(Path(folder).glob("*.json"))]
