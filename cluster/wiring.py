"""The parts that jobs are given, made from the settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.settings import CONFIGS, Settings
from cluster.work import Work
from fraud.errors import ConfigError
from fraud.features import spec as features
from fraud.features.spec import FeatureSet
from fraud.mapping import spec as mappings
from fraud.mapping.spec import Mapping
from fraud.model import reason_catalogue as catalogues
from fraud.model.reason_catalogue import Catalogue
from fraud.storage.lake import Lake

if TYPE_CHECKING:
    from fraud.jobs.source import SourceName
    from fraud.model.bundle import Bundle
    from fraud.storage.registry import Registry
    from fraud.storage.tracking import Tracking


def work(settings: Settings) -> Work:
    """The work directory."""
    return Work(Path(settings.work.dir))


def lake(settings: Settings) -> Lake:
    """The tables."""
    return Lake(settings.lake.uri)


def feature_set(settings: Settings, name: str | None = None) -> FeatureSet:
    """The features of a name or file, or those named in the settings.

    Raises:
        ConfigError: There is no such feature set.
        DeclarationError: Its file cannot be used as written.
    """
    return features.load(name or settings.features.feature_set, CONFIGS / "features")


def mapping(name_or_file: str) -> Mapping:
    """A mapping of configs/mappings, or of a file.

    Raises:
        DeclarationError: There is none, or it cannot be used as written.
    """
    return mappings.load(name_or_file, CONFIGS / "mappings")


def source(settings: Settings, path: str, versions: str | None) -> SourceName:
    """What is to be read: a path or URI, and of a Delta table FIRST..LAST, where either end may be left out.

    Raises:
        ConfigError: The versions are written otherwise.
    """
    from fraud.jobs.source import SourceName  # Arrow takes a second to import, and few commands need it

    ends = None
    if versions is not None:
        found = re.fullmatch(r"(\d*)\.\.(\d*)", versions)
        if not found or (all(found.groups()) and int(found[1]) > int(found[2])):
            raise ConfigError("--versions", f"{versions!r} is not FIRST..LAST, such as 7.. or 7..9")
        ends = (int(found[1]) if found[1] else None, int(found[2]) if found[2] else None)
    return SourceName(path, ends, settings.ingest.database_password)


def catalogue(settings: Settings) -> Catalogue:
    """What customers are told of reasons, in the language of the settings.

    Raises:
        ConfigError: There is no such language.
        DeclarationError: Its file cannot be used as written.
    """
    return catalogues.load(settings.serve.reasons_language, CONFIGS / "reasons")


def tracking(settings: Settings) -> Tracking:
    """Where runs are kept."""
    from fraud.storage.tracking import Tracking  # MLflow takes seconds to import, and few commands need it

    return Tracking(settings.mlflow.tracking_uri, settings.mlflow.artifact_uri, settings.mlflow.experiment)


def registry(settings: Settings) -> Registry:
    """Where models are kept; the history of promotions lies in the lake, which all hosts share."""
    from fraud.storage.registry import Registry  # as above

    return Registry(settings.mlflow.tracking_uri, settings.mlflow.model_name, lake(settings))


def bundle(settings: Settings, reference: str) -> Bundle:
    """A verified local copy of a registered model.

    Raises:
        ModelNotFoundError: Nothing answers to the reference.
        BundleError: What the registry holds is not what it says.
    """
    return registry(settings).fetch(reference, work(settings).models)[0]
