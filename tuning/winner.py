"""Search, then train what won: distributed, on the newest days, registered like any other training."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraud.features.spec import FeatureSet
from fraud.jobs import train as training
from fraud.settings import LabelSettings, PolicySettings, TrainSettings
from fraud.storage.lake import Lake
from tuning import journal, search
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
    top_k_cards: int,
    tracking: Tracking,
    registry: Registry,
    storage: Path,
    reports: Path,
    end: date | None,
    alias: str | None,
) -> dict[str, Any]:
    """Search for the best settings and train with them.

    Killed at any moment and started again with the same lake and settings, it does no trial again that had
    ended; its journal is removed when the winner is registered, so that the next search is a new one.

    Args:
        lake: Holds the features and the labels.
        feature_set: Which features.
        tune: The search.
        train: What the search does not vary.
        labels: When a transaction counts as genuine.
        policy: What to decide with the model's probabilities.
        top_k_cards: Cards a day that a team checks, where the metric is the card precision.
        tracking: Where runs go.
        registry: Where the model goes.
        storage: Absolute folder for checkpoints and the search's files.
        reports: Folder for the report of the search.
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
        top_k_cards=top_k_cards,
        tracking=tracking,
        storage=storage,
        reports=reports,
        end=end,
    )
    # Held until the winner is registered: whoever starts the same search meanwhile is refused.
    with journal.opened(found.journal):
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
        found.journal.unlink()
    return {"search": found.summary(), "train": trained}
