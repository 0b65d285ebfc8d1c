"""Train: examples in time order, one distributed booster, calibrated, with a policy, registered."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import xgboost as xgb
from numpy.typing import NDArray
from ray.data import Dataset

from fraud.errors import ConfigError, NotEnoughDataError
from fraud.features.spec import FeatureSet
from fraud.jobs import engine, proof, provenance, shards
from fraud.jobs.examples import FIELDS, days, examples, labels_of, micros, pin
from fraud.jobs.periods import Period, Periods, periods
from fraud.jobs.reference import Profile, profile
from fraud.jobs.scored import score, traffic
from fraud.model import bundle, calibration, histogram, metrics
from fraud.model import policy as policies
from fraud.model.backtest import outcome
from fraud.model.calibration import Calibration
from fraud.model.policy import Policy
from fraud.model.reliability import cross_fitted, summary
from fraud.model.traffic import Traffic
from fraud.model.truth import fraud_types
from fraud.model.worth import worth
from fraud.settings import LabelSettings, PolicySettings, TrainSettings
from fraud.storage.lake import Lake
from fraud.storage.promotions import CHAMPION

if TYPE_CHECKING:  # MLflow costs seconds and is no use to the tasks that score
    from fraud.storage.registry import Registry
    from fraud.storage.tracking import Run, Tracking


@dataclass(frozen=True)
class Plan:
    """What a training works on."""

    lake: Lake
    feature_set: FeatureSet
    train: TrainSettings
    labels: LabelSettings
    versions: Mapping[str, int]
    days: Periods

    def examples(self, period: Period, columns: Sequence[str]) -> Dataset:
        """The rows of a period whose truth was known in time: these columns and the features, computed."""
        whole = examples(
            self.lake,
            self.feature_set,
            first=period.first,
            last=period.last,
            as_of=period.as_of,
            maturity=timedelta(days=self.labels.label_maturity_d),
            versions=self.versions,
        )
        return whole.select_columns([*columns, *self.feature_set.names]).materialize()

    def fraud_types(self, rows: pa.Table, period: Period) -> pa.Array:
        """The types of fraud that labels known in time name."""
        labels = labels_of(self.lake, self.versions, first=period.first, last=period.last)
        ids = rows.column("transaction_id").combine_chunks()
        return fraud_types(ids, labels, as_of_us=micros(period.as_of))

    def metadata(self) -> dict[str, Any]:
        """What the bundle says of its origin."""
        train, calibrated = self.days.train, self.days.calibration
        return {
            "feature_set": self.feature_set.name,
            "data_version": dict(self.versions),
            "split": {
                "train": [train.first.isoformat(), train.last.isoformat()],
                "calibration": [calibrated.first.isoformat(), calibrated.last.isoformat()],
                "label_maturity_d": self.labels.label_maturity_d,
            },
            "params": self.train.model_dump(),
            "feature_proof": proof.newest(self.lake, self.feature_set),
            "code_version": provenance.code_version(),
            "libraries": provenance.libraries(),
        }


@dataclass(frozen=True)
class Rows:
    """The examples of both periods, and the profile of those that train."""

    train: Dataset
    calibration: Dataset
    profile: Profile


@dataclass(frozen=True)
class Made:
    """What came out: the model, how it scored the calibration days, its curve and its policy."""

    booster: xgb.Booster
    traffic: Traffic
    curve: Calibration
    policy: Policy


def run(
    lake: Lake,
    feature_set: FeatureSet,
    *,
    train: TrainSettings,
    labels: LabelSettings,
    policy: PolicySettings,
    tracking: Tracking,
    registry: Registry,
    storage: Path,
    end: date | None = None,
    parent_run: str | None = None,
    alias: str | None = None,
) -> dict[str, Any]:
    """Train a model on what was known, and register it.

    The calibration days are the newest whose truth is known at ``end``; the training days end
    ``label_maturity_d`` days before them, so what trains was known when calibration began. Where the lake
    holds fewer days than asked for, both periods shrink in proportion, and a warning is logged.

    Args:
        lake: Holds transactions, labels and the features of the set.
        feature_set: What the model sees.
        train: Engine, parameters, days.
        labels: When truth is known.
        policy: Costs and the alert budget.
        tracking: Where the run is kept.
        registry: Where the model becomes a version.
        storage: Absolute folder for checkpoints.
        end: Facts known by the start of this day are used; None: the day after the newest one.
        parent_run: Id of the run this one is a part of.
        alias: Points at the new version afterwards, where given.

    Returns:
        ``run_id``, ``model_version``, ``digest``, ``features_version``, ``train`` and ``calibration`` (rows,
        frauds, first and last day), ``average_precision`` and ``auc_roc`` on the calibration days,
        ``reliability`` and ``worth`` there (with probabilities by curves that were fitted on other days), the
        ``policy`` and its ``reviews_per_day`` on these days (mean, p95), ``engine``, ``workers``, ``shrunk``,
        ``alias`` and ``seconds``.

    Raises:
        ConfigError: The alias is champion, which only the gate gives.
        TableNotFoundError: Transactions or features are missing.
        NotEnoughDataError: Too few days, rows or frauds.
    """
    started = time.monotonic()
    if alias == CHAMPION:
        raise ConfigError("alias", "train as challenger, then run `fraud promote`: its gate decides")
    versions = pin(lake, feature_set)
    span = periods(*days(lake, versions), train=train, labels=labels, end=end)
    plan = Plan(lake, feature_set, train, labels, versions, span)
    rows = _rows(plan)
    tags = {"job": "train", "feature_set": feature_set.name, "features_version": feature_set.version}
    with tracking.run("train", parent=parent_run, tags=tags) as tracked:
        tracked.params({**train.model_dump(), **labels.model_dump(), **policy.model_dump()})
        tracked.document(plan.metadata(), "training.json")
        made = _make(plan, rows, policy, storage)
        honest = cross_fitted(made.traffic.score, made.traffic.is_fraud, made.traffic.day)
        report = _report(plan, rows.profile, made, honest)
        if honest is not None:
            _log_reliability(tracked, made, honest)
        tracked.metrics(_figures(report))  # before the version, whose description holds them
        with tempfile.TemporaryDirectory() as folder:
            digest = _save(Path(folder) / "bundle", plan, rows.profile, made)
            version = registry.register(tracked.id, Path(folder) / "bundle", made.policy)
        if alias is not None:
            registry.set_alias(alias, version, actor="fraud train", reason=f"trained in run {tracked.id}")
        seconds = round(time.monotonic() - started, 3)
        tracked.metrics({"seconds": seconds})
    return {
        "run_id": tracked.id,
        "model_version": version,
        "digest": digest,
        "features_version": feature_set.version,
        **report,
        "alias": alias,
        "seconds": seconds,
    }


def _rows(plan: Plan) -> Rows:
    """Read both periods; too few frauds are refused before anything is trained.

    Raises:
        NotEnoughDataError: A period lacks frauds, or has nothing else.
    """
    names = plan.feature_set.names
    train = plan.examples(plan.days.train, shards.columns(plan.train))
    calibrated = plan.examples(plan.days.calibration, [field.name for field in FIELDS])
    seen = profile(train, names)
    for period, counted in ((plan.days.train, seen), (plan.days.calibration, profile(calibrated, ()))):
        if not 0 < counted.frauds < counted.rows:
            raise NotEnoughDataError(
                f"the {period.days} days from {period.first} on hold {counted.rows} transactions whose truth "
                f"was known on {period.as_of:%Y-%m-%d}, {counted.frauds} of them fraud; training and "
                "calibration need both: ingest labels or more days"
            )
    return Rows(train, calibrated, seen)


def _make(plan: Plan, rows: Rows, settings: PolicySettings, storage: Path) -> Made:
    """Train, score the calibration days, calibrate, fit the policy."""
    names, period = plan.feature_set.names, plan.days.calibration
    (booster,) = engine.fit([rows.train], names, plan.train, storage=storage)
    scored = score(booster, rows.calibration, names)
    scores = np.asarray(scored.column("score"), np.float64)
    curve = calibration.fit(scores, np.asarray(scored.column("is_fraud"), np.bool_))
    seen = traffic(scored, curve.probability(scores), plan.fraud_types(scored, period))
    chosen = policies.fit(seen.probability, seen.amount, days=period.days, settings=settings)
    return Made(booster, seen, curve, chosen)


def _save(folder: Path, plan: Plan, seen: Profile, made: Made) -> str:
    return bundle.save(
        folder,
        booster=made.booster,
        feature_set=plan.feature_set,
        calibration=made.curve,
        reference={**seen.histograms, bundle.SCORE: histogram.build(made.traffic.score)},
        golden_rows=bundle.golden_rows(seen.histograms, plan.feature_set.names),
        metadata=plan.metadata(),
    )


def _report(plan: Plan, seen: Profile, made: Made, honest: NDArray[np.float64] | None) -> dict[str, Any]:
    calibrated, policy = made.traffic, made.policy
    is_fraud, scores = calibrated.is_fraud, calibrated.score
    probability = calibrated.probability if honest is None else honest
    measured = worth(replace(calibrated, probability=probability), policy, k=max(1, policy.reviews_per_day))
    decided = outcome(policy, calibrated)
    return {
        "train": _size(plan.days.train, seen.rows, seen.frauds),
        "calibration": _size(plan.days.calibration, len(scores), int(is_fraud.sum())),
        "average_precision": metrics.average_precision(is_fraud, scores),
        "auc_roc": metrics.auc_roc(is_fraud, scores),
        "reliability": None if honest is None else summary(honest, is_fraud),
        "worth": {**measured.figures, "recall_1pct_fpr_by_fraud_type": measured.recall_by_fraud_type},
        "policy": policy.to_json(),
        "reviews_per_day": decided["reviews_per_day"],
        "engine": plan.train.engine,
        "workers": plan.train.workers,
        "shrunk": plan.days.shrunk,
    }


def _log_reliability(tracked: Run, made: Made, honest: NDArray[np.float64]) -> None:
    """Keep the diagram with the run."""
    from fraud.model.reliability_plot import draw  # matplotlib is no use to the workers

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reliability.png"
        draw(honest, made.traffic.is_fraud, file)
        tracked.file(file, "calibration")


def _figures(report: Mapping[str, Any]) -> dict[str, float]:
    """The report's numbers, flat, as MLflow keeps them."""
    counts = {
        f"{period}_{key}": report[period][key]
        for period in ("train", "calibration")
        for key in ("rows", "frauds")
    }
    figures = {
        **{name: report[name] for name in ("average_precision", "auc_roc")},
        **counts,
        **(report["reliability"] or {}),
        **report["worth"],
        "review_saving_minor": report["policy"]["review_saving_minor"],
    }
    return {name: value for name, value in figures.items() if isinstance(value, (int, float))}


def _size(period: Period, rows: int, frauds: int) -> dict[str, Any]:
    last = period.last - timedelta(days=1)
    return {"rows": rows, "frauds": frauds, "first": period.first.isoformat(), "last": last.isoformat()}
