"""Search, then train what won: distributed, on the newest days, registered like any other training."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraud.features.spec import FeatureSet
from fraud.jobs import train as training
from fraud.settings import LabelSettings, PolicySettings, TrainSettings
from fraud.storage.lake import Lake
from tuning import search
from tuning.settings import TuneSettings

if TYPE_CHECKING:
    from fraud.storage.registry import Registry
    from fraud.storage.tracking import Tracking


def run(
    lake: Lake,
    feature_set: FeatureSet,
    *,
    tune: TuneSettings,
    train: TrainSettings,
    labels: LabelSettings,
    policy: PolicySettings,
    tracking: Tracking,
    registry: Registry,
    storage: Path,
    end: date | None,
    alias: str | None,
) -> dict[str, Any]:
    """Search for the best settings and train with them.

    Args:
        lake: Holds the features and the labels.
        feature_set: Which features.
        tune: The search.
        train: What the search does not vary.
        labels: When a transaction counts as genuine.
        policy: What to decide with the model's probabilities.
        tracking: Where runs go.
        registry: Where the model goes.
        storage: Absolute folder for checkpoints and the search's files.
        end: The day after the last one to use; None uses all.
        alias: To set on the new model version, if any.

    Returns:
        ``search``: the report of the search; ``train``: that of the training.
    """
    found = search.run(
        lake,
        feature_set,
        tune=tune,
        train=train,
        labels=labels,
        tracking=tracking,
        storage=storage,
        end=end,
    )
    trained = training.run(
        lake,
        feature_set,
        train=found.settings,
        labels=labels,
        policy=policy,
        tracking=tracking,
        registry=registry,
        storage=storage,
        end=end,
        parent_run=found.parent_run_id,
        alias=alias,
    )
    return {"search": found.report(), "train": trained}
