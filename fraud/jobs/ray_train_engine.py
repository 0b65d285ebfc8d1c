"""Distributed XGBoost on Ray Train: one worker group trains all boosters and survives a lost worker.

Ray Train starts the workers, watches them and starts them again; the boosters go through our own checkpoints,
which are kept the moment they are made, while a report to Ray Train waits for all workers and for its poll.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import xgboost as xgb
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.xgboost import XGBoostConfig, XGBoostTrainer
from ray.train.xgboost.config import _get_xgboost_args
from xgboost.collective import CommunicatorContext, broadcast, get_rank

from fraud.errors import ClusterError
from fraud.jobs.boosting import Examples, Progress, boost
from fraud.jobs.checkpoints import Checkpoints
from fraud.jobs.failures import reason
from fraud.jobs.shards import Shards
from fraud.model.booster import from_json
from fraud.settings import TrainSettings


@dataclass
class _Communicator(XGBoostConfig):  # type: ignore[misc]
    """Ray Train's communicator with a timeout, which it has no setting for."""

    timeout_s: int = 0

    @property
    def train_func_context(self) -> Callable[[], AbstractContextManager[None]]:
        timeout_s = self.timeout_s

        @contextmanager
        def communicator() -> Iterator[None]:
            with CommunicatorContext(**_get_xgboost_args(), dmlc_timeout=timeout_s):
                yield

        return communicator


@dataclass(frozen=True)
class _Run:
    """What every worker of a run needs to know."""

    folder: Path
    datasets: tuple[Shards, ...]
    names: tuple[str, ...]
    settings: TrainSettings

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder / "boosters")


def train(
    datasets: Sequence[Shards], names: Sequence[str], settings: TrainSettings, *, folder: Path
) -> list[xgb.Booster]:
    """Train one booster per dataset in one worker group.

    Args:
        datasets: The shards of each dataset, one per worker.
        names: Feature columns in model order.
        settings: Parameters, rounds, workers and their resources.
        folder: Absolute folder of this run, seen by all nodes.

    Raises:
        ClusterError: Workers were lost more often than the settings allow.
    """
    run = _Run(folder, tuple(datasets), tuple(names), settings)
    try:
        result = _trainer(run).fit()
    except ray.train.TrainingFailedError as error:
        failures = list(getattr(error, "worker_failures", {}).values()) or [error]
        raise ClusterError(
            f"training failed more often than train.max_failures = {settings.max_failures} allows, at last "
            f"by: {reason(failures)}. See the workers' logs in the Ray dashboard"
        ) from error
    return [from_json(raw, path=str(folder)) for raw in result.return_value]


class _Trainer(XGBoostTrainer):  # type: ignore[misc]
    """A trainer that starts its workers only.

    Ray Train starts two more processes with each group, which take as long to start as a worker: one hands
    out Ray Data sets, and there are none; one frees what a lost controller held, which Ray does itself when
    the job ends, and a job ends with its controller.
    """

    def _create_default_callbacks(self) -> list[Any]:
        unused = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [each for each in super()._create_default_callbacks() if not isinstance(each, unused)]


def _trainer(run: _Run) -> XGBoostTrainer:
    settings = run.settings
    return _Trainer(
        _loop,
        train_loop_config={"run": run},
        xgboost_config=_Communicator(timeout_s=settings.collective_timeout_s),
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.workers, resources_per_worker={"CPU": settings.cpus_per_worker}
        ),
        run_config=ray.train.RunConfig(
            name=run.folder.name,
            storage_path=str(run.folder.parent),
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),
        ),
    )


def _loop(config: dict[str, Any]) -> list[bytes] | None:
    """Train every booster of the run on this worker's rows, from where the last checkpoint ends."""
    run: _Run = config["run"]
    rank = get_rank()
    kept = broadcast(run.checkpoints.load() if rank == 0 else None, 0)
    boosters = [
        boost(
            Examples(shards.parts[rank], run.names, shards.rows, f"{run.folder.name}-{index}-{rank}"),
            run.settings,
            run.checkpoints,
            Progress(index, len(run.datasets), run.settings.rounds),
            kept[index] if index < len(kept) else None,
        )
        for index, shards in enumerate(run.datasets)
    ]
    return boosters if rank == 0 else None
