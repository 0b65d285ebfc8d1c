"""This package's section of the settings."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, ValidationError, field_validator

from fraud.settings import Section, TrainSettings
from tuning.space import SPACE, apply

Metric = Literal["average_precision", "card_precision", "auc_roc"]

_SELECTION: Final = "handbook-validation"


class TuneSettings(Section):
    """One hyperparameter search: how many trials, on which validation days, and how they are cut short."""

    metric: Metric = Field(
        default="average_precision", description="Of which a trial's mean over the folds is maximised."
    )
    protocol: str = Field(
        default="",
        description="handbook-validation: on the weeks published for selection. Empty: on the newest days.",
    )
    grid: dict[str, tuple[int | float, ...]] = Field(
        default={},
        description="Every combination of these values is trained to its end. Empty: a search.",
    )
    trials: int = Field(default=20, ge=1, le=10_000, description="Of a search; a grid says itself.")
    max_concurrent_trials: int = Field(
        default=2, ge=1, le=1000, description="At most; the cluster may hold fewer."
    )
    workers_per_trial: int = Field(
        default=1,
        ge=1,
        le=512,
        description="1: a trial trains in its own process. More: each fit is distributed.",
    )
    folds: int = Field(
        default=2, ge=1, le=100, description="Validation folds without a protocol; a trial has their mean."
    )
    train_d: int = Field(default=7, ge=1, le=4000, description="Days of training in a fold.")
    test_d: int = Field(default=7, ge=1, le=400, description="Days of validation, without a protocol.")
    report_rounds: int = Field(
        default=10, ge=1, le=10_000, description="Boosting rounds between two reports."
    )
    grace_rounds: int = Field(default=50, ge=1, le=100_000, description="No trial is stopped before.")
    reduction_factor: int = Field(
        default=3, ge=2, le=10, description="One trial of so many goes on at a rung."
    )
    seed: int = Field(default=0, ge=0)

    @field_validator("protocol")
    @classmethod
    def _selects_on_validation_weeks(cls, name: str) -> str:
        if name not in {"", _SELECTION}:
            raise ValueError(
                f"must be {_SELECTION}, or empty for the newest days: no test week selects anything"
            )
        return name

    @field_validator("grid")
    @classmethod
    def _names_training_settings(
        cls, grid: dict[str, tuple[int | float, ...]]
    ) -> dict[str, tuple[int | float, ...]]:
        for name, values in grid.items():
            if name not in SPACE:
                raise ValueError(f"{name} is not searched; known are {', '.join(SPACE)}")
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} needs values, each of them once")
            for value in values:
                _check(name, value)
        return grid


def _check(name: str, value: float) -> None:
    try:
        apply(TrainSettings(), {name: value})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise ValueError(f"{name} of {value:g}: {problem[:1].lower()}{problem[1:]}") from error
