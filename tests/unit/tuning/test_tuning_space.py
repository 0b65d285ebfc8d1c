from __future__ import annotations

import pytest
from pydantic import ValidationError

from fraud.errors import ClusterError
from fraud.settings import TrainSettings
from tuning.search import concurrency
from tuning.settings import TuneSettings
from tuning.space import SPACE, apply


@pytest.mark.parametrize("edge", ["low", "high"])
def test_every_range_is_a_training_setting_within_its_bounds(edge: str) -> None:
    corner = {name: getattr(values, edge) for name, values in SPACE.items()}
    settings = apply(TrainSettings(), corner)
    assert {name: getattr(settings, name) for name in SPACE} == corner


def test_settings_outside_the_space_stay() -> None:
    train = TrainSettings(max_bin=77, seed=5, workers=3)
    settings = apply(train, {"max_depth": 4})
    assert settings == train.model_copy(update={"max_depth": 4})


def test_parameters_out_of_bounds_are_refused() -> None:
    with pytest.raises(ValidationError):
        apply(TrainSettings(), {"learning_rate": 2.0})


@pytest.mark.parametrize(
    ("asked", "workers", "cpus", "expected"),
    [
        (8, 1, 2.0, 2),  # a trial in its own process takes one CPU
        (1, 1, 64.0, 1),
        (8, 2, 2.0, 1),  # (2 - 1) / (2 x 0.5)
        (8, 2, 8.0, 7),  # (8 - 1) / (2 x 0.5)
    ],
)
def test_no_more_trials_at_once_than_their_workers_find_cpus(
    asked: int, workers: int, cpus: float, expected: int
) -> None:
    tune = TuneSettings(max_concurrent_trials=asked, workers_per_trial=workers)
    assert concurrency(tune, TrainSettings(cpus_per_worker=0.5), cpus) == expected


@pytest.mark.parametrize(("workers", "cpus"), [(1, 0.0), (2, 1.0), (4, 2.9)])
def test_cluster_too_small_for_one_trial_is_refused(workers: int, cpus: float) -> None:
    with pytest.raises(ClusterError, match=r"a trial needs .*, the cluster has .*: lower"):
        concurrency(TuneSettings(workers_per_trial=workers), TrainSettings(cpus_per_worker=0.5), cpus)
