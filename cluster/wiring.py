"""The parts that jobs are given, made from the settings."""

from __future__ import annotations

from pathlib import Path

from cluster.settings import CONFIGS, Settings
from cluster.work import Work
from fraud.features import spec
from fraud.features.spec import FeatureSet
from fraud.storage.lake import Lake
from fraud.storage.registry import Registry
from fraud.storage.tracking import Tracking


def work(settings: Settings) -> Work:
    """The work directory."""
    return Work(Path(settings.work.dir))


def lake(settings: Settings) -> Lake:
    """The tables."""
    return Lake(settings.lake.uri)


def feature_set(settings: Settings) -> FeatureSet:
    """The features named in the settings.

    Raises:
        ConfigError: There is no such feature set.
        DeclarationError: Its file cannot be used as written.
    """
    return spec.load(settings.features.feature_set, CONFIGS / "features")


def tracking(settings: Settings) -> Tracking:
    """Where runs are kept."""
    return Tracking(settings.mlflow.tracking_uri, settings.mlflow.artifact_uri, settings.mlflow.experiment)


def registry(settings: Settings) -> Registry:
    """Where models are kept; the history of promotions lies in the work directory."""
    return Registry(settings.mlflow.tracking_uri, settings.mlflow.model_name, work(settings).folder)
