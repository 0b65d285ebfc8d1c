"""The validation folds of a search, read from the lake once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from fraud.jobs.examples import examples, to_table
from numpy.typing import NDArray
from ray.data import Dataset

from fraud.errors import NotEnoughDataError
from fraud.features.encode import matrix
from fraud.features.spec import FeatureSet
from fraud.jobs.shards import LABEL
from fraud.model.split import Fold, prequential
from fraud.settings import LabelSettings
from fraud.storage.lake import Lake
from tuning.settings import TuneSettings
from tuning.trial import FoldData

logger = logging.getLogger(__name__)


def plan(first: date, end: date, *, tune: TuneSettings, maturity_d: int) -> tuple[Fold, ...]:
    """Return the folds whose truth is known at ``end``, the newest first.

    Args:
        first: First day with features.
        end: The day after the last one; what is younger than ``maturity_d`` then is no validation day.
        tune: Folds and their days.
        maturity_d: Days until a transaction without a label counts as genuine; the gap before validation.

    Raises:
        NotEnoughDataError: The days do not reach.
    """
    last = end - timedelta(days=maturity_d)
    needed = tune.train_d + maturity_d + tune.folds * tune.test_d
    if (last - first).days < needed:
        known = max((last - first).days, 0)
        raise NotEnoughDataError(
            f"a search over {tune.folds} folds needs {needed} days whose truth is known, there are {known}: "
            "featurize more days, or lower tune.folds, tune.train_d or tune.test_d"
        )
    return prequential(
        first, last, folds=tune.folds, train_d=tune.train_d, gap_d=maturity_d, test_d=tune.test_d
    )


def span(lake: Lake, feature_set: FeatureSet, end: date | None) -> tuple[date, date]:
    """Return the first day with features and the day after the last one, ``end`` at the latest.

    Raises:
        TableNotFoundError: Nothing has been featurized with this feature set.
        NotEnoughDataError: There is no day before ``end``.
    """
    days = [part.event_date for part in lake.parts(feature_set.table) if part.event_date is not None]
    if not days or (end is not None and min(days) >= end):
        raise NotEnoughDataError("there are no features before the end of the search: featurize more days")
    after_last = max(days) + timedelta(days=1)
    return min(days), min(end, after_last) if end else after_last


def load(
    lake: Lake, feature_set: FeatureSet, folds: Sequence[Fold], labels: LabelSettings, *, keep_datasets: bool
) -> tuple[FoldData, ...]:
    """Read the folds as matrices.

    Training rows carry the truth known on the first validation day, validation rows the truth known when the
    last of them is mature: a search never trains on what was learnt later.

    Args:
        lake: Holds the features and the labels.
        feature_set: Which features.
        folds: From ``plan``.
        labels: When a transaction counts as genuine.
        keep_datasets: Whether distributed trials need the training rows as datasets, too.
    """
    maturity = timedelta(days=labels.label_maturity_d)
    return tuple(_load(lake, feature_set, fold, maturity, keep_datasets) for fold in folds)


def _load(
    lake: Lake, feature_set: FeatureSet, fold: Fold, maturity: timedelta, keep_datasets: bool
) -> FoldData:
    train = _read(lake, feature_set, fold.train, _midnight(fold.test[0]), maturity).materialize()
    test = _read(lake, feature_set, fold.test, _midnight(fold.test[1]) + maturity, maturity)
    train_x, train_y = _arrays(train, feature_set.names)
    test_x, test_y = _arrays(test, feature_set.names)
    for days, truth in ((fold.train, train_y), (fold.test, test_y)):
        _require_both_classes(days, truth)
    logger.info(
        "fold read", extra={"fold": fold.name, "train_rows": train_y.size, "validation_rows": test_y.size}
    )
    return FoldData(fold.name, train_x, train_y, test_x, test_y, train if keep_datasets else None)


def _read(
    lake: Lake, feature_set: FeatureSet, days: tuple[date, date], as_of: datetime, maturity: timedelta
) -> Dataset:
    return examples(lake, feature_set, first=days[0], last=days[1], as_of=as_of, maturity=maturity)


def _arrays(dataset: Dataset, names: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    table = to_table(dataset)
    return matrix(table, names), np.asarray(table.column(LABEL), np.bool_)


def _require_both_classes(days: tuple[date, date], truth: NDArray[np.bool_]) -> None:
    frauds = int(np.count_nonzero(truth))
    if frauds in (0, truth.size):
        raise NotEnoughDataError(
            f"the {truth.size} transactions from {days[0]} to before {days[1]} whose truth is known hold "
            f"{frauds} frauds, a search needs both classes: raise tune.train_d or tune.test_d"
        )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
