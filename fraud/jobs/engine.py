"""The two distributed XGBoost engines behind one function: same data and parameters, same boosters."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import ray
import xgboost as xgb
from ray.data import Dataset

from fraud.errors import ClusterError, ConfigError
from fraud.jobs import ray_train_engine, xgboost_ray_engine
from fraud.jobs.prior import corrected
from fraud.jobs.shards import shard
from fraud.settings import TrainSettings

ENGINES: Final = {"ray_train": ray_train_engine.train, "xgboost_ray": xgboost_ray_engine.train}

_ROUNDING: Final = 1e-9
"""Three tenths of a CPU hold three workers of a tenth, whatever the division says."""

logger = logging.getLogger(__name__)


def fit(
    datasets: Sequence[Dataset], names: Sequence[str], settings: TrainSettings, *, storage: Path
) -> list[xgb.Booster]:
    """Train one booster per dataset.

    Several datasets share one start of the workers, which costs more than a small training. No row is
    dropped, but the genuine ones that ``negative_share`` leaves out; the boosters' scores are corrected for
    those, so that they are what all rows would have given.

    Args:
        datasets: Examples: ``is_fraud``, one column per name, and ``transaction_id`` where ``negative_share``
            is below 1. Others are left aside.
        names: Feature columns in model order; the boosters carry them.
        settings: Engine, parameters, rounds, workers.
        storage: Absolute folder for rows and checkpoints, which are removed at the end; on several nodes, one
            that all of them see.

    Raises:
        ConfigError: ``storage`` is relative, or there is no such engine.
        ClusterError: The nodes have fewer CPUs than the workers need, so that they could never start; or
            workers were lost more often than ``max_failures``.
        SchemaError: Before anything is trained: a column is missing.
        NotEnoughDataError: Before anything is trained: a dataset has fewer rows than there are workers, fewer
            frauds than ``min_frauds``, or nothing else.
    """
    if not storage.is_absolute():
        raise ConfigError(str(storage), "the folder for checkpoints must be absolute, workers run elsewhere")
    if settings.engine not in ENGINES:
        raise ConfigError("train.engine", f"{settings.engine!r} is none of {', '.join(ENGINES)}")
    check_cpus(settings, [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]])
    folder = storage / f"train-{uuid4().hex[:8]}"
    try:
        shards = [shard(dataset, names, settings, folder / "rows") for dataset in datasets]
        logger.info(
            "training",
            extra={"engine": settings.engine, "workers": settings.workers, "rows": [d.rows for d in shards]},
        )
        boosters = ENGINES[settings.engine](shards, names, settings, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [corrected(booster, settings.negative_share) for booster in boosters]


def check_cpus(settings: TrainSettings, nodes: Sequence[float]) -> None:
    """See that every worker finds its CPUs on one node.

    Args:
        settings: Engine, workers and their CPUs.
        nodes: The CPUs of each node.

    Raises:
        ClusterError: They do not fit, so that the workers would be waited for in vain.
    """
    each = settings.cpus_per_worker
    if settings.engine == "xgboost_ray":
        each = xgboost_ray_engine.cpus_per_actor(settings)
    room = sum(math.floor(cpus / each + _ROUNDING) for cpus in nodes)
    if settings.workers > room:
        raise ClusterError(
            f"{settings.engine} needs {settings.workers} x {each:g} CPUs, the cluster has room for {room}; "
            f"CPUs by node: {', '.join(f'{cpus:g}' for cpus in nodes)}. Lower train.workers or "
            "train.cpus_per_worker, or add nodes"
        )
