"""The validation folds of a search, read from the lake once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ray.data import Dataset

from fraud import schema
from fraud.errors import NotEnoughDataError
from fraud.features.encode import matrix
from fraud.features.spec import FeatureSet
from fraud.jobs import sampling
from fraud.jobs.examples import CARD, examples, midnight, to_table
from fraud.jobs.known_cards import without_known
from fraud.jobs.scored import day_numbers
from fraud.jobs.shards import LABEL
from fraud.model.split import Fold
from fraud.storage.lake import Lake
from tuning.objective import Answers, Objective
from tuning.work import FoldData

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where folds are read from: one state of the lake for all of them.

    Attributes:
        lake: Holds transactions, labels and features.
        feature_set: Which features.
        versions: Of the tables, see ``examples.pin``.
        maturity: Age from which a transaction without a label counts as genuine.
        known_frauds: Labels of frauds whose cards a protocol leaves out of the validation; None leaves out
            none.
        negative_share: Of the genuine rows to train on.
    """

    lake: Lake
    feature_set: FeatureSet
    versions: Mapping[str, int]
    maturity: timedelta
    known_frauds: pa.Table | None = None
    negative_share: float = 1.0

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

    def validation(self, fold: Fold) -> pa.Table:
        """Return the rows of a fold's validation days, with the truth known when the last is mature."""
        table = to_table(self.read(fold.test, midnight(fold.test[1]) + self.maturity))
        if self.known_frauds is None:
            return table
        return without_known(table, self.known_frauds, train_last=fold.train[1])


def load(
    source: Source, folds: Sequence[Fold], objective: Objective, *, keep_datasets: bool
) -> tuple[FoldData, ...]:
    """Read the folds as matrices.

    Training rows carry the truth known on the first validation day, validation rows the truth known when the
    last of them is mature: a search never trains on what was learnt later.

    Args:
        source: Where to read.
        folds: From ``planning``.
        objective: What the validation rows must be fit to measure.
        keep_datasets: Whether distributed trials need the training rows as datasets, too.

    Raises:
        NotEnoughDataError: The days of a fold hold no fraud or nothing else, or cannot be measured.
    """
    loaded = tuple(_load(source, fold, keep_datasets=keep_datasets) for fold in folds)
    for fold in loaded:
        objective(fold.answers, np.zeros(fold.answers.is_fraud.size))
    return loaded


def _load(source: Source, fold: Fold, *, keep_datasets: bool) -> FoldData:
    names = source.feature_set.names
    dataset = source.read(fold.train, midnight(fold.test[0])).materialize()
    train, test = sampling.keep(to_table(dataset), LABEL, source.negative_share), source.validation(fold)
    answers = Answers(
        _truth(test), day_numbers(test.column(schema.PARTITION)), test.column(CARD).combine_chunks()
    )
    train_y = _truth(train)
    for days, truth in ((fold.train, train_y), (fold.test, answers.is_fraud)):
        _require_both_classes(days, truth)
    logger.info(
        "fold read", extra={"fold": fold.name, "train_rows": train.num_rows, "validation_rows": test.num_rows}
    )
    return FoldData(
        fold.name,
        matrix(train, names),
        train_y,
        matrix(test, names),
        answers,
        dataset if keep_datasets else None,
    )


def _truth(table: pa.Table) -> NDArray[np.bool_]:
    return np.asarray(table.column(LABEL), np.bool_)


def _require_both_classes(days: tuple[date, date], truth: NDArray[np.bool_]) -> None:
    frauds = int(np.count_nonzero(truth))
    if frauds in (0, truth.size):
        raise NotEnoughDataError(
            f"the {truth.size} transactions from {days[0]} to before {days[1]} whose truth is known hold "
            f"{frauds} frauds, a search needs both classes: raise tune.train_d or tune.test_d"
        )
