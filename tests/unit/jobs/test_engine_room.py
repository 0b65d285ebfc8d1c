from __future__ import annotations

from collections.abc import Sequence

import pytest

from fraud.errors import ClusterError
from fraud.jobs.engine import check_cpus
from fraud.settings import TrainSettings


@pytest.mark.parametrize(
    ("engine", "workers", "each", "nodes"),
    [
        ("ray_train", 4, 0.5, [2]),
        ("ray_train", 3, 0.1, [0.3]),
        ("ray_train", 2, 3.0, [4, 4]),
        ("xgboost_ray", 2, 0.5, [2]),
    ],
)
def test_workers_that_fit_are_accepted(
    engine: str, workers: int, each: float, nodes: Sequence[float]
) -> None:
    check_cpus(TrainSettings(engine=engine, workers=workers, cpus_per_worker=each), nodes)


@pytest.mark.parametrize(
    ("engine", "workers", "each", "nodes", "room"),
    [
        ("ray_train", 5, 0.5, [2], 4),
        # Eight CPUs in all, and yet no node has room for a second worker of three.
        ("ray_train", 3, 3.0, [4, 4], 2),
        ("xgboost_ray", 3, 0.5, [2], 2),
        ("ray_train", 1, 1.0, [], 0),
    ],
)
def test_workers_that_no_nodes_have_room_for_are_refused(
    engine: str, workers: int, each: float, nodes: Sequence[float], room: int
) -> None:
    with pytest.raises(ClusterError, match=f"has room for {room};.*Lower train.workers"):
        check_cpus(TrainSettings(engine=engine, workers=workers, cpus_per_worker=each), nodes)
