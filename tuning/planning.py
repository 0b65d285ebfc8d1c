"""Which days a search trains on and which it validates on; never the weeks of a published test."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from fraud.errors import ConfigError, NotEnoughDataError
from fraud.features.spec import FeatureSet
from fraud.jobs.examples import days
from fraud.model import protocol as protocols
from fraud.model.split import Fold, prequential, require_days, with_train_days
from fraud.settings import LabelSettings
from fraud.storage.lake import Lake
from tuning.settings import TuneSettings


def plan(
    lake: Lake,
    feature_set: FeatureSet,
    versions: Mapping[str, int],
    *,
    tune: TuneSettings,
    labels: LabelSettings,
    end: date | None,
) -> tuple[Fold, ...]:
    """Return the folds, the newest first: of the protocol, or over the newest days whose truth is known.

    Args:
        lake: Holds the features.
        feature_set: Which ones.
        versions: Of the tables, see ``examples.pin``.
        tune: The protocol, or how many folds of how many days.
        labels: The gap between training and validation, where there is no protocol.
        end: Facts known by the start of this day are used; None: the day after the newest one. The days of
            a protocol are its own.

    Raises:
        TableNotFoundError: Nothing has been featurized with this feature set.
        NotEnoughDataError: The days do not reach.
        ConfigError: The end lies before the protocol's validation was known.
    """
    if tune.protocol:
        first, last = days(lake, versions)
        published = protocols.find(tune.protocol).folds
        known = max(fold.test[1] for fold in published) + timedelta(days=protocols.DAYS)
        if end is not None and end < known:
            raise ConfigError(
                "--end",
                f"{tune.protocol} selects by what was known on {known}: end later, or set no protocol",
            )
        folds = tuple(with_train_days(fold, tune.train_d) for fold in published)
        require_days(f"a search on {tune.protocol}", folds, first=first, last=last)
        return folds
    return newest(*span(lake, feature_set, versions, end, labels=labels), tune=tune, labels=labels)


def newest(first: date, last: date, *, tune: TuneSettings, labels: LabelSettings) -> tuple[Fold, ...]:
    """Return folds that end with the newest day.

    Args:
        first: First day with features.
        last: The day after the last one whose truth is known.
        tune: Folds and their days.
        labels: The gap between training and validation.

    Raises:
        NotEnoughDataError: The days do not reach.
    """
    gap_d = labels.label_maturity_d
    needed = tune.train_d + gap_d + tune.folds * tune.test_d
    known = max((last - first).days, 0)
    if known < needed:
        raise NotEnoughDataError(
            f"a search over {tune.folds} folds needs {needed} days whose truth is known, there are {known}: "
            "featurize more days, or lower tune.folds, tune.train_d or tune.test_d"
        )
    return prequential(first, last, folds=tune.folds, train_d=tune.train_d, gap_d=gap_d, test_d=tune.test_d)


def span(
    lake: Lake,
    feature_set: FeatureSet,
    versions: Mapping[str, int],
    end: date | None,
    *,
    labels: LabelSettings,
) -> tuple[date, date]:
    """Return the first day with features and the day after the last one whose truth is known.

    Args:
        lake: Holds the features.
        feature_set: Which ones.
        versions: Of the tables, see ``examples.pin``.
        end: Facts known by the start of this day are used; None: the day after the newest one.
        labels: When a transaction without a label counts as genuine.

    Raises:
        TableNotFoundError: Nothing has been featurized with this feature set.
        NotEnoughDataError: No day has features.
    """
    parts = lake.parts(feature_set.table, version=versions[feature_set.table])
    found = [part.event_date for part in parts if part.event_date is not None]
    if not found:
        raise NotEnoughDataError("no day has features: ingest transactions and run `fraud featurize`")
    after_last = max(found) + timedelta(days=1)
    return min(found), min((end or after_last) - timedelta(days=labels.label_maturity_d), after_last)
