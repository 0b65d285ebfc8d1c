"""The two distributed XGBoost engines behind one function: same data and parameters, same boosters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import ray
import xgboost as xgb
from ray.data import Dataset

from fraud.errors import ClusterError, ConfigError
from fraud.jobs import ray_train_engine, xgboost_ray_engine
from fraud.jobs.shards import shard
from fraud.settings import TrainSettings

logger = logging.getLogger(__name__)


def fit(
    datasets: Sequence[Dataset], names: Sequence[str], settings: TrainSettings, *, storage: Path
) -> list[xgb.Booster]:
    """Train one booster per dataset.

    Several datasets share one start of the workers, which costs more than a small training.

    Args:
        datasets: Examples: ``is_fraud`` and one column per name. No row is dropped.
        names: Feature columns in model order; the boosters carry them.
        settings: Engine, parameters, rounds, workers.
        storage: Absolute folder for checkpoints; on several nodes, one that all of them see.

    Raises:
        ConfigError: ``storage`` is relative.
        ClusterError: The cluster has fewer CPUs than the workers need, so that they could never start.
        NotEnoughDataError: Before anything is trained: a dataset has fewer rows than there are workers, or
            rows of one class only.
    """
    if not storage.is_absolute():
        raise ConfigError(str(storage), "the folder for checkpoints must be absolute, workers run elsewhere")
    _check_cpus(settings)
    shards = [shard(dataset, names, settings.workers) for dataset in datasets]
    logger.info(
        "training",
        extra={"engine": settings.engine, "workers": settings.workers, "rows": [d.rows for d in shards]},
    )
    if settings.engine == "xgboost_ray":
        return xgboost_ray_engine.train(shards, names, settings)
    return ray_train_engine.train(shards, names, settings, storage=storage)


def _check_cpus(settings: TrainSettings) -> None:
    each = settings.cpus_per_worker
    if settings.engine == "xgboost_ray":
        each = xgboost_ray_engine.cpus_per_actor(settings)
    held = ray.cluster_resources().get("CPU", 0.0)
    if settings.workers * each > held:
        raise ClusterError(
            f"{settings.engine} needs {settings.workers} x {each:g} CPUs and the cluster has {held:g}: "
            "lower train.workers or train.cpus_per_worker, or add nodes"
        )
