"""Distributed XGBoost on xgboost-ray 0.1.19, which was written for another XGBoost.

Its way of starting and joining the collective is gone from XGBoost since 2.1, and its matrices go through
pandas. ``adapt`` replaces those four functions; the actors, the restarts and the elasticity stay its own.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
import ray
import xgboost as xgb
import xgboost_ray.main as library
from ray.util import get_node_ip_address
from xgboost.collective import CommunicatorContext
from xgboost_ray.callback import DistributedCallback
from xgboost_ray.matrix import RayDMatrix
from xgboost_ray.session import get_actor_rank

from fraud.jobs.matrix import BATCH_ROWS, quantile_matrix
from fraud.jobs.shards import Shards
from fraud.model.booster import booster_params
from fraud.settings import TrainSettings

CHECKPOINT_ROUNDS: Final = 50
MAX_RESTARTS: Final = 2

COLLECTIVE_TIMEOUT_S: Final = 120
"""How long a worker waits for another before it fails: a frozen peer is noticed, never waited for."""


def train(datasets: Sequence[Shards], names: Sequence[str], settings: TrainSettings) -> list[xgb.Booster]:
    """Train one booster per dataset, one after the other, each with its own actors.

    Args:
        datasets: The shards of each dataset, one per worker.
        names: Feature columns in model order.
        settings: Parameters, rounds, workers and their resources.
    """
    adapt()
    return [_train(_ShardMatrix(shards, names, settings), settings) for shards in datasets]


def cpus_per_actor(settings: TrainSettings) -> int:
    """Return the CPUs an actor asks for: the library takes whole ones only, and no fewer than threads."""
    return max(1, math.ceil(settings.cpus_per_worker), settings.threads_per_worker)


def adapt() -> None:
    """Teach the library this XGBoost, in the process that calls it."""
    vars(library).update(
        _start_rabit_tracker=_start_tracker,
        _stop_rabit_tracker=_stop_tracker,
        _RabitContext=_communicator,
        _get_dmatrix=_quantile_matrix,
    )


class _ShardMatrix(RayDMatrix):  # type: ignore[misc]
    """Shards in the shape the library passes to its actors, without its pandas frames."""

    def __init__(self, shards: Shards, names: Sequence[str], settings: TrainSettings) -> None:
        # The parent's constructor looks for a pandas data source; its hash needs only this id.
        self._uid = uuid4().int
        self.loaded = True
        self.distributed = True
        self.names = tuple(names)
        self.max_bin = settings.max_bin
        self.threads = settings.threads_per_worker
        self._blocks = tuple(tuple(part.to_arrow_refs()) for part in shards.parts)

    @property
    def has_label(self) -> bool:
        return True

    def assert_enough_shards_for_actors(self, num_actors: int) -> None:
        """There is one shard per actor already."""

    def assign_shards_to_actors(self, actors: Sequence[Any]) -> bool:
        """Shards belong to ranks from the start."""
        del actors
        return True

    def get_data(self, rank: int, num_actors: int | None = None) -> dict[str, list[pa.Table]]:
        """Return this rank's blocks: views of the object store, not copies."""
        del num_actors
        return {"data": ray.get(list(self._blocks[rank]))}


class _Adapt(DistributedCallback):  # type: ignore[misc]
    """Runs first in every actor."""

    def on_init(self, actor: Any, *args: Any, **kwargs: Any) -> None:
        """Teach the library this XGBoost in the actor's process."""
        del actor, args, kwargs
        adapt()


def _train(examples: _ShardMatrix, settings: TrainSettings) -> xgb.Booster:
    ray_params = library.RayParams(
        num_actors=settings.workers,
        cpus_per_actor=cpus_per_actor(settings),
        gpus_per_actor=0,
        max_actor_restarts=MAX_RESTARTS,
        checkpoint_frequency=CHECKPOINT_ROUNDS,
        distributed_callbacks=[_Adapt()],
        verbose=False,
    )
    with warnings.catch_warnings():
        # One worker is a choice here, not an accident.
        warnings.filterwarnings("ignore", message="`num_actors` in `ray_params` is smaller than 2")
        return library.train(
            booster_params(settings), examples, num_boost_round=settings.rounds, ray_params=ray_params
        )


def _start_tracker(workers: int) -> tuple[threading.Thread, dict[str, Any]]:
    # Ranks follow the task ids, which carry the actors' ranks.
    tracker = xgb.RabitTracker(n_workers=workers, host_ip=get_node_ip_address(), sortby="task")
    tracker.start()
    thread = threading.Thread(target=tracker.wait_for, daemon=True)
    thread.start()
    return thread, dict(tracker.worker_args())


def _stop_tracker(thread: threading.Thread) -> None:
    # After a lost worker it never ends by itself; as a daemon it ends with the process.
    thread.join(timeout=5)


def _communicator(actor_id: str, args: dict[str, Any]) -> CommunicatorContext:
    task = f"[xgboost-ray-rank={get_actor_rank():08}]:{actor_id}"
    return CommunicatorContext(**args, dmlc_task_id=task, dmlc_timeout=COLLECTIVE_TIMEOUT_S)


def _quantile_matrix(examples: _ShardMatrix, held: dict[str, Any]) -> xgb.QuantileDMatrix:
    return quantile_matrix(
        lambda: _batches(held["data"]), examples.names, max_bin=examples.max_bin, threads=examples.threads
    )


def _batches(blocks: Sequence[pa.Table]) -> Iterable[pa.Table]:
    for block in blocks:
        for first in range(0, block.num_rows, BATCH_ROWS):
            yield block.slice(first, BATCH_ROWS)
