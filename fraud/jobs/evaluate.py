"""Evaluate: how good a model is on weeks it has not seen, at the time it would have been used.

Every fold trains on what was known when its test begins, and is measured on everything known later. The
named protocols are the published weeks of the Fraud Detection Handbook; without one, the folds are cut
from the newest days of the lake whose truth is known.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from ray.data import Dataset

from fraud.errors import ConfigError
from fraud.features.encode import matrix
from fraud.features.spec import FeatureSet
from fraud.jobs import engine, record
from fraud.jobs.examples import days, examples, labels_of, micros, midnight, pin, to_table
from fraud.jobs.known_cards import EVERYTHING, known_frauds, without_known
from fraud.jobs.scored import traffic
from fraud.model import policy as policies
from fraud.model import protocol as protocols
from fraud.model.booster import booster_params, predict
from fraud.model.bundle import Bundle
from fraud.model.metrics import auc_roc, average_precision
from fraud.model.split import Fold, prequential, require_days, with_train_days
from fraud.model.truth import fraud_types
from fraud.model.worth import Worth, worth
from fraud.settings import EvaluateSettings, LabelSettings, PolicySettings, TrainSettings
from fraud.storage.lake import Lake

if TYPE_CHECKING:  # MLflow costs seconds and is no use to the tasks that score
    from fraud.storage.tracking import Tracking

logger = logging.getLogger(__name__)

_NO_FIGURE: Final = (
    "it needs transactions with a card_id, frauds of some value, and of its own type, in every fold"
)

Scorer = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is going to be measured.

    Attributes:
        protocol: Its name; None for folds over the data's own dates.
        folds: The newest first.
        as_of: When the truth of the test rows is read.
        maturity: Label maturity.
        known_frauds: Labels of frauds whose cards the protocol leaves out; None where it leaves out none.
        published: The figures to compare with, where there are any.
        is_test: Whether these weeks judge a choice; on others a choice may be made.
    """

    protocol: str | None
    folds: tuple[Fold, ...]
    as_of: datetime
    maturity: timedelta
    known_frauds: pa.Table | None
    published: Mapping[str, Any] | None
    is_test: bool


@dataclass(frozen=True, slots=True)
class _Source:
    """The pinned state of the lake that all folds read."""

    lake: Lake
    feature_set: FeatureSet
    versions: Mapping[str, int]

    def examples(self, span: tuple[date, date], *, as_of: datetime, maturity: timedelta) -> Dataset:
        return examples(
            self.lake,
            self.feature_set,
            first=span[0],
            last=span[1],
            as_of=as_of,
            maturity=maturity,
            versions=self.versions,
        )


def run(
    lake: Lake,
    feature_set: FeatureSet,
    *,
    protocol: str | None,
    train: TrainSettings,
    evaluate: EvaluateSettings,
    labels: LabelSettings,
    policy: PolicySettings,
    tracking: Tracking,
    storage: Path,
    bundle: Bundle | None = None,
) -> dict[str, Any]:
    """Train and measure every fold, or measure a bundle on the test days of every fold.

    A reading of test weeks gets a number in the lake's ledger before its figures are returned.

    Args:
        lake: Holds ``transactions``, ``labels`` and the features.
        feature_set: Which features.
        protocol: ``handbook-baseline``, ``handbook-prequential`` or ``handbook-validation``; None cuts folds
            over the data's own dates.
        train: Engine and parameters; all folds are trained in one run of it.
        evaluate: Training days; the folds where there is no protocol; how many cards a day are checked.
        labels: The label maturity; the protocols have their own, 7 days.
        policy: Costs and the alert budget of the savings. A policy is fitted to the transactions of each
            fold's test days, without their truth; scores are taken as probabilities where no bundle has a
            curve for them.
        tracking: Where the run goes.
        storage: Absolute folder for checkpoints.
        bundle: Scores the test days; nothing is trained then. That it was trained on earlier days is for the
            caller to see to.

    Returns:
        ``protocol``, ``folds`` (first and last days, rows and frauds), ``auc_roc``, ``average_precision``,
        ``savings``, ``recall_1pct_fpr``, ``card_precision_<k>``, its ``card_precision_<k>_ceiling`` and
        ``value_detected_<k>`` (each mean, population std and folds), ``recall_1pct_fpr_by_fraud_type``,
        ``published``, ``engine``, ``params``, ``train_d``, ``model``, ``features_version``,
        ``table_versions``, ``reading`` (``ordinal``, ``headline``, ``configuration_digest``; None on
        validation weeks), ``run_id``, ``seconds``.

    Raises:
        ConfigError: No such protocol, or the bundle has other features.
        TableNotFoundError: A table is missing.
        SchemaError: The protocol needs cards and the lake has none.
        NotEnoughDataError: The data do not reach for the folds, or a fold has rows of one class only.
    """
    started = time.monotonic()
    if bundle is not None and bundle.feature_set.version != feature_set.version:
        raise ConfigError(
            "features",
            f"the model reads features {bundle.feature_set.version}, asked for are {feature_set.version}: "
            "name the feature set the model was trained on",
        )
    versions = pin(lake, feature_set)
    source = _Source(lake, feature_set, versions)
    plan = (
        _own_dates(source, evaluate, labels)
        if protocol is None
        else _named(source, protocol, evaluate.train_d)
    )
    logger.info("evaluating", extra={"protocol": plan.protocol, "folds": len(plan.folds)})
    if bundle is None:
        trained, scorers = _train(source, plan, train, storage)
    else:
        trained, scorers = [(None, None)] * len(plan.folds), [bundle.scores] * len(plan.folds)
    measure = _Measure(evaluate.top_k_cards, policy, bundle)
    tested = [
        _test(source, plan, fold, scorer, measure) for fold, scorer in zip(plan.folds, scorers, strict=True)
    ]
    report = {
        "protocol": plan.protocol,
        "folds": [
            _fold_report(fold, counts, test)
            for fold, counts, test in zip(plan.folds, trained, tested, strict=True)
        ],
        **_summary([test.figures for test in tested]),
        "recall_1pct_fpr_by_fraud_type": _summary([test.recall_by_fraud_type for test in tested]),
        "published": plan.published and dict(plan.published),
        "engine": None if bundle else train.engine,
        "params": None if bundle else {**booster_params(train), "rounds": train.rounds},
        "train_d": None if bundle else evaluate.train_d,
        "model": bundle.digest if bundle else None,
        "features_version": feature_set.version,
        "table_versions": dict(versions),
    }
    chosen = {
        "model": {"digest": bundle.digest} if bundle else train.model_dump(),
        "evaluate": evaluate.model_dump(),
        "policy": policy.model_dump(),
    }
    kept = record.keep(lake, tracking, feature_set, report, chosen=chosen, is_test=plan.is_test)
    return {**report, **kept, "seconds": round(time.monotonic() - started, 3)}


def _named(source: _Source, name: str, train_d: int) -> _Plan:
    """A published protocol: its weeks, its label delay, its removal of known cards; any training days."""
    protocol = protocols.find(name)
    frauds = known_frauds(source.lake, source.versions, protocol=name)
    first, last = days(source.lake, source.versions)
    folds = tuple(with_train_days(fold, train_d) for fold in protocol.folds)
    require_days(f"protocol {name}", folds, first=first, last=last)
    return _Plan(
        name,
        folds,
        EVERYTHING,
        timedelta(days=protocols.DAYS),
        frauds,
        protocol.published,
        protocol.is_test,
    )


def _own_dates(source: _Source, evaluate: EvaluateSettings, labels: LabelSettings) -> _Plan:
    """Folds that end with the last day whose truth is known from the lake itself."""
    first, last = days(source.lake, source.versions)
    maturity = timedelta(days=labels.label_maturity_d)
    newest = pc.max(
        labels_of(source.lake, source.versions, first=first, last=last).column("label_time")
    ).as_py()
    as_of = max(midnight(last), newest or midnight(last))
    folds = prequential(
        first,
        min(last, (as_of - maturity).date()),
        folds=evaluate.folds,
        train_d=evaluate.train_d,
        gap_d=labels.label_maturity_d,
        test_d=evaluate.test_d,
    )
    return _Plan(None, folds, as_of, maturity, None, None, is_test=True)


def _train(
    source: _Source, plan: _Plan, settings: TrainSettings, storage: Path
) -> tuple[list[tuple[int | None, int | None]], list[Scorer]]:
    """Train one booster per fold; return the rows and frauds of each training set, and what scores."""
    datasets = [
        source.examples(fold.train, as_of=midnight(fold.test[0]), maturity=plan.maturity).materialize()
        for fold in plan.folds
    ]
    counts: list[tuple[int | None, int | None]] = [
        (dataset.count(), _frauds(dataset)) for dataset in datasets
    ]
    boosters = engine.fit(datasets, source.feature_set.names, settings, storage=storage)
    return counts, [partial(predict, booster) for booster in boosters]


def _frauds(dataset: Dataset) -> int:
    labels = dataset.select_columns(["is_fraud"]).iter_batches(batch_size=None, batch_format="pyarrow")
    return sum(pc.sum(batch.column("is_fraud")).as_py() or 0 for batch in labels)


@dataclass(frozen=True, slots=True)
class _Measure:
    """What to measure with: cards a day, costs, and the bundle whose curve gives probabilities, if any."""

    k: int
    policy: PolicySettings
    bundle: Bundle | None

    def worth(self, scored: pa.Table, fold: Fold, kinds: pa.Array) -> Worth:
        score = np.asarray(scored.column("score"), np.float64)
        rows = traffic(scored, score if self.bundle is None else self.bundle.probabilities(score), kinds)
        days = (fold.test[1] - fold.test[0]).days
        policy = policies.fit(rows.probability, rows.amount, days=days, settings=self.policy)
        return worth(rows, policy, k=self.k)


@dataclass(frozen=True, slots=True)
class _Tested:
    """One fold, measured: its rows after the removal of known cards, and its figures by name."""

    rows: int
    frauds: int
    removed: int
    figures: dict[str, float | None]
    recall_by_fraud_type: dict[str, float]


def _test(source: _Source, plan: _Plan, fold: Fold, scorer: Scorer, measure: _Measure) -> _Tested:
    everything = to_table(source.examples(fold.test, as_of=plan.as_of, maturity=plan.maturity))
    table = everything
    if plan.known_frauds is not None:
        table = without_known(everything, plan.known_frauds, train_last=fold.train[1])
    is_fraud = np.asarray(table.column("is_fraud").to_numpy(), np.bool_)
    score = scorer(matrix(table, source.feature_set.names))
    figures: dict[str, float | None] = {
        "auc_roc": auc_roc(is_fraud, score),
        "average_precision": average_precision(is_fraud, score),
    }
    labels = labels_of(source.lake, source.versions, first=fold.test[0], last=fold.test[1])
    ids = table.column("transaction_id").combine_chunks()
    kinds = fraud_types(ids, labels, as_of_us=micros(plan.as_of))
    found = measure.worth(table.append_column("score", pa.array(score)), fold, kinds)
    return _Tested(
        table.num_rows,
        int(np.count_nonzero(is_fraud)),
        everything.num_rows - table.num_rows,
        figures | found.figures,
        found.recall_by_fraud_type,
    )


def _fold_report(fold: Fold, counts: tuple[int | None, int | None], test: _Tested) -> dict[str, Any]:
    trained = counts[0] is not None
    return {
        "name": fold.name,
        "train": _inclusive(fold.train) if trained else None,
        "test": _inclusive(fold.test),
        "train_rows": counts[0],
        "train_frauds": counts[1],
        "test_rows": test.rows,
        "test_frauds": test.frauds,
        "removed_rows": test.removed,
    }


def _inclusive(span: tuple[date, date]) -> list[str]:
    return [span[0].isoformat(), (span[1] - timedelta(days=1)).isoformat()]


def _summary(folds: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    """Mean and population standard deviation over the folds, or the reason why there is no figure."""
    summary: dict[str, Any] = {}
    for name in dict.fromkeys(name for figures in folds for name in figures):
        values = [figures.get(name) for figures in folds]
        given = [value for value in values if value is not None]
        if len(given) == len(values):
            summary[name] = {"mean": float(np.mean(given)), "std": float(np.std(given)), "folds": values}
        else:
            summary[name] = {"mean": None, "std": None, "folds": values, "reason": _NO_FIGURE}
    return summary
