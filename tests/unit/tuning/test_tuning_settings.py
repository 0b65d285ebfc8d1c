from __future__ import annotations

from typing import Any

import pytest

from cluster.settings import load
from fraud.errors import ConfigError
from tuning.settings import TuneSettings


def refusal(**tune: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(options={f"tune.{name}": value for name, value in tune.items()})
    return str(caught.value)


def test_unknown_metric_is_refused_with_the_known_ones() -> None:
    message = refusal(metric="f1")
    assert "'average_precision', 'card_precision' or 'auc_roc', not 'f1'" in message


@pytest.mark.parametrize("name", ["handbook-prequential", "handbook-baseline", "handbok"])
def test_selection_on_anything_but_validation_weeks_is_refused(name: str) -> None:
    message = refusal(protocol=name)
    assert "must be handbook-validation, or empty for the newest days" in message
    assert name in message


@pytest.mark.parametrize(
    ("grid", "problem"),
    [
        ({"depth": [3]}, "depth is not searched; known are max_depth, learning_rate"),
        ({"max_bin": [16, 64]}, "max_bin is not searched"),
        ({"max_depth": [3, 30]}, "max_depth of 30: input should be less than or equal to 20"),
        ({"max_depth": [3, 2.5]}, "max_depth of 2.5: input should be a valid integer"),
        ({"max_depth": []}, "max_depth needs values"),
        ({"max_depth": [3, 3]}, "max_depth needs values, each of them once"),
    ],
)
def test_grid_that_no_training_could_run_is_refused(grid: dict[str, Any], problem: str) -> None:
    assert problem in refusal(grid=grid)


def test_grid_keeps_whole_numbers_whole() -> None:
    grid = TuneSettings(grid={"rounds": [25, 50], "learning_rate": [0.1, 1]}).grid
    assert [type(value) for value in (*grid["rounds"], *grid["learning_rate"])] == [int, int, float, int]
