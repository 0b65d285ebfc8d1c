"""This package's section of the settings."""

from __future__ import annotations

from pydantic import Field

from fraud.settings import Section


class TuneSettings(Section):
    """One hyperparameter search: how many trials, on which validation days, and how they are cut short."""

    trials: int = Field(default=20, ge=1, le=10_000)
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
        default=2, ge=1, le=100, description="Validation folds; a trial is judged by their mean."
    )
    train_d: int = Field(default=7, ge=1, le=4000, description="Days of training in a fold.")
    test_d: int = Field(default=7, ge=1, le=400, description="Days of validation in a fold.")
    report_rounds: int = Field(
        default=10, ge=1, le=10_000, description="Boosting rounds between two reports."
    )
    grace_rounds: int = Field(default=50, ge=1, le=100_000, description="No trial is stopped before.")
    reduction_factor: int = Field(
        default=3, ge=2, le=10, description="One trial of so many goes on at a rung."
    )
    seed: int = Field(default=0, ge=0)
