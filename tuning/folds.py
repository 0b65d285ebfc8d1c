"""The validation folds of a search, read from the lake once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from numpy.typing import NDArray
from ray.data import Dataset

from fraud.errors import NotEnoughDataError
from fraud.features.encode import matrix
from fraud.features.spec import FeatureSet
from fraud.jobs.examples import examples, to_table
from fraud.jobs.shards import LABEL
from fraud.model.split import Fold, prequential
from fraud.storage.lake import Lake
from tuning.settings import TuneSettings
from tuning.trial import FoldData

logger = logging.getLogger(__name__)


def plan(first: date, last: date, *, tune: TuneSettings, maturity_d: int) -> tuple[Fold, ...]:
    """Return the newest folds, the newest first.

    Args:
        first: First day with features.
        last: The day after the last one whose truth is known.
        tune: Folds and their days.
        maturity_d: Days until a transaction without a label counts as genuine; the gap before validation.

    Raises:
        NotEnoughDataError: The days do not reach.
    """
    needed = tune.train_d + maturity_d + tune.folds * tune.test_d
    known = max((last - first).days, 0)
    if known < needed:
        raise NotEnoughDataError(
            f"a search over {tune.folds} folds needs {needed} days whose truth is known, there are {known}: "
            "featurize more days, or lower tune.folds, tune.train_d or tune.test_d"
        )
    return prequential(
        first, last, folds=tune.folds, train_d=tune.train_d, gap_d=maturity_d, test_d=tune.test_d
    )


def span(lake: Lake, feature_set: FeatureSet, end: date | None, *, maturity_d: int) -> tuple[date, date]:
    """Return the first day with features and the day after the last one whose truth is known.

    Args:
        lake: Holds the features.
        feature_set: Which ones.
        end: Facts known by the start of this day are used; None: the day after the newest one.
        maturity_d: Days until a transaction without a label counts as genuine.

    Raises:
        TableNotFoundError: Nothing has been featurized with this feature set.
        NotEnoughDataError: No day has features.
    """
    days = [part.event_date for part in lake.parts(feature_set.table) if part.event_date is not None]
    if not days:
        raise NotEnoughDataError("no day has features: ingest transactions and run `fraud featurize`")
    after_last = max(days) + timedelta(days=1)
    return min(days), min((end or after_last) - timedelta(days=maturity_d), after_last)


@dataclass(frozen=True)
class Source:
    """Where folds are read from: one state of the lake for all of them.

    Attributes:
        lake: Holds transactions, labels and features.
        feature_set: Which features.
        versions: Of the tables, see ``examples.pin``.
        maturity: Age from which a transaction without a label counts as genuine.
    """

    lake: Lake
    feature_set: FeatureSet
    versions: Mapping[str, int]
    maturity: timedelta

    def read(self, days: tuple[date, date], as_of: datetime) -> Dataset:
        """Return the examples of some days with the truth known at an instant."""
        return examples(
            self.lake,
            self.feature_set,
            first=days[0],
            last=days[1],
            as_of=as_of,
            maturity=self.maturity,
            versions=self.versions,
        )


def load(source: Source, folds: Sequence[Fold], *, keep_datasets: bool) -> tuple[FoldData, ...]:
    """Read the folds as matrices.

    Training rows carry the truth known on the first validation day, validation rows the truth known when the
    last of them is mature: a search never trains on what was learnt later.

    Args:
        source: Where to read.
        folds: From ``plan``.
        keep_datasets: Whether distributed trials need the training rows as datasets, too.

    Raises:
        NotEnoughDataError: The days of a fold hold no fraud, or nothing else.
    """
    return tuple(_load(source, fold, keep_datasets=keep_datasets) for fold in folds)


def _load(source: Source, fold: Fold, *, keep_datasets: bool) -> FoldData:
    names = source.feature_set.names
    train = source.read(fold.train, _midnight(fold.test[0])).materialize()
    test = source.read(fold.test, _midnight(fold.test[1]) + source.maturity)
    train_x, train_y = _arrays(train, names)
    test_x, test_y = _arrays(test, names)
    for days, truth in ((fold.train, train_y), (fold.test, test_y)):
        _require_both_classes(days, truth)
    logger.info(
        "fold read", extra={"fold": fold.name, "train_rows": train_y.size, "validation_rows": test_y.size}
    )
    return FoldData(fold.name, train_x, train_y, test_x, test_y, train if keep_datasets else None)


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
