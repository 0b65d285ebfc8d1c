"""The search: Optuna proposes, ASHA stops early what lags behind, every trial is an MLflow run."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ray
from ray import tune as ray_tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from fraud.errors import ClusterError, ConfigError, FraudError
from fraud.features.spec import FeatureSet
from fraud.jobs.examples import pin
from fraud.jobs.known_cards import known_frauds
from fraud.model.protocol import DAYS
from fraud.settings import LabelSettings, TrainSettings
from fraud.storage.lake import Lake
from tuning import folds as folding
from tuning import journal, planning, proposer, report, runs, space
from tuning.journal import Finished, Journal
from tuning.objective import Objective
from tuning.progress import Progress, Table
from tuning.report import Report
from tuning.settings import TuneSettings
from tuning.trial import ROUND, VALUE, TrialActor
from tuning.work import Work

if TYPE_CHECKING:
    from fraud.model.split import Fold
    from fraud.storage.tracking import Tracking

logger = logging.getLogger(__name__)

_EXTENT: Final = {"trials", "max_concurrent_trials"}
"""More trials, or fewer at once, are the same search gone on with."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        settings: The winner's training settings, its rounds those of its best report.
        report: The trials that ended, and what they were measured on.
        failed: Trials that ended with an error.
        resumed: Trials of the report that an earlier, killed run of the same search had done.
        parent_run_id: The MLflow run that the trials' runs belong to.
        folder: Where the report lies.
        journal: What a search like this one goes on from; to be removed when its winner is trained.
        seconds: How long it took.
    """

    settings: TrainSettings
    report: Report
    failed: int
    resumed: int
    parent_run_id: str
    folder: Path
    journal: Path
    seconds: float

    def summary(self) -> dict[str, Any]:
        """Return the result as a JSON-able dict; trials are the best first."""
        metric, trials = self.report.metric, self.report.trials
        best = trials[self.report.best - 1]
        return {
            "trials": len(trials) + self.failed,
            "completed": len(trials),
            "failed": self.failed,
            "resumed": self.resumed,
            "metric": metric,
            "protocol": self.report.protocol or None,
            "best": {"params": _winning(best), metric: best.value},
            "parent_run_id": self.parent_run_id,
            "report": str(self.folder),
            "seconds": round(self.seconds, 3),
            "trials_table": [
                _row(number, trial, metric)
                for number, trial in sorted(enumerate(trials, start=1), key=lambda each: -each[1].value)
            ],
        }


@dataclass(frozen=True)
class _Ready:
    """A search made ready: what its trials share, which days they see, how many run at once, its journal."""

    work: Work
    folds: tuple[Fold, ...]
    tune: TuneSettings
    at_once: int
    file: Path


def run(
    lake: Lake,
    feature_set: FeatureSet,
    *,
    tune: TuneSettings,
    train: TrainSettings,
    labels: LabelSettings,
    top_k_cards: int,
    tracking: Tracking,
    storage: Path,
    reports: Path,
    end: date | None,
) -> SearchResult:
    """Search for the training settings of the best mean over the validation folds.

    Started again after a kill with the same lake and settings, it keeps the trials that had ended, and the
    MLflow run it had opened.

    Args:
        lake: Holds the features and the labels.
        feature_set: Which features.
        tune: Metric, trials, folds and when to stop a trial.
        train: What the search does not vary.
        labels: When a transaction counts as genuine.
        top_k_cards: Cards a day that a team checks, where the metric is the card precision.
        tracking: Where the runs go; only the driver writes.
        storage: Absolute folder for the journal and for Tune's own files.
        reports: Folder for the report, which gets a folder of its own in it.
        end: The day after the last one to use; None uses all. A protocol has its own days.

    Raises:
        ConfigError: ``storage`` is relative, or distributed trials are asked of an engine that cannot nest.
        SchemaError: The protocol needs cards and the lake has none.
        NotEnoughDataError: Too few days, a fold of one class, or no card for the card precision.
        ClusterError: Every trial failed, the cluster is too small for one trial, or another process is at
            this search.
    """
    _check(tune, train, storage)
    started = time.monotonic()
    search = _prepare(
        lake,
        feature_set,
        tune=tune,
        train=train,
        labels=labels,
        objective=Objective(tune.metric, top_k_cards),
        storage=storage,
        end=end,
    )
    tags = {"job": "tune", "features_version": feature_set.version}
    with (
        journal.opened(search.file) as log,
        tracking.run("search", tags=tags, key=log.search) as parent,
    ):
        resumed = len(log.trials())
        failed = _search(search, log)
        trials = tuple(log.trials())
        found = Report(
            log.search, tune.metric, tune.protocol, search.folds, trials, proposer.distributions(tune)
        )
        best = trials[found.best - 1]
        parent.params({**tune.model_dump(exclude=_EXTENT), "features_version": feature_set.version})
        parent.metrics({tune.metric: best.value, "completed": len(trials), "failed": failed})
        runs.track(tracking, parent.id, trials, search=log.search, metric=tune.metric)
        folder = reports / f"search-{log.search}"
        for file in report.write(found, folder):
            parent.file(file, "report")
    settings = space.apply(train, _winning(best))
    seconds = time.monotonic() - started
    return SearchResult(settings, found, failed, resumed, parent.id, folder, search.file, seconds)


def _prepare(
    lake: Lake,
    feature_set: FeatureSet,
    *,
    tune: TuneSettings,
    train: TrainSettings,
    labels: LabelSettings,
    objective: Objective,
    storage: Path,
    end: date | None,
) -> _Ready:
    """Read the folds, and find the journal of exactly this search."""
    at_once = concurrency(tune, train, ray.cluster_resources().get("CPU", 0.0))
    versions = pin(lake, feature_set)
    folds = planning.plan(lake, feature_set, versions, tune=tune, labels=labels, end=end)
    maturity = timedelta(days=DAYS if tune.protocol else labels.label_maturity_d)
    frauds = known_frauds(lake, versions, protocol=tune.protocol) if tune.protocol else None
    source = folding.Source(lake, feature_set, versions, maturity, frauds, train.negative_share)
    data = folding.load(source, folds, objective, keep_datasets=tune.workers_per_trial > 1)
    identity = {
        "lake": lake.uri,
        "versions": versions,
        "features": feature_set.version,
        "folds": [asdict(fold) for fold in folds],
        "tune": tune.model_dump(exclude=_EXTENT),
        "top_k_cards": objective.top_k,
        "train": train.model_dump(),
        "labels": labels.model_dump(),
    }
    every = None if tune.grid else tune.report_rounds
    work = Work(data, feature_set.names, train, objective, tune.workers_per_trial, every, storage)
    return _Ready(work, folds, tune, at_once, journal.file_for(storage, identity))


def concurrency(tune: TuneSettings, train: TrainSettings, cpus: float) -> int:
    """Return how many trials may run at once, so that each that starts can also end.

    A distributed trial asks for no CPU itself, so Tune would start more than the workers of all of them find
    room for, and none would end; one CPU is left to Ray Data, which feeds them.

    Args:
        tune: How many at most, and the workers of each.
        train: The CPUs of a worker.
        cpus: The cluster's.

    Raises:
        ClusterError: There is no room for one: it would wait for ever.
    """
    room, needed = cpus, "1 CPU"
    if tune.workers_per_trial > 1:
        room = (cpus - 1) / (tune.workers_per_trial * train.cpus_per_worker)
        needed = f"{tune.workers_per_trial} x {train.cpus_per_worker:g} CPUs and one for the data"
    if room < 1:
        raise ClusterError(
            f"a trial needs {needed}, the cluster has {cpus:g}: lower tune.workers_per_trial or "
            "train.cpus_per_worker, or add nodes"
        )
    return min(tune.max_concurrent_trials, int(room))


def _check(tune: TuneSettings, train: TrainSettings, storage: Path) -> None:
    if not storage.is_absolute():
        raise ConfigError(str(storage), "the folder for the search must be absolute, trials run elsewhere")
    if tune.workers_per_trial > 1 and train.engine != "ray_train":
        raise ConfigError(
            "tune.workers_per_trial",
            "distributed trials need train.engine = ray_train; with xgboost_ray use 1",
        )


def _search(search: _Ready, log: Journal) -> int:
    """Run the trials that are left and journal them; returns how many failed."""
    resumed = log.trials()
    propose, left = proposer.propose(search.tune, search.work.train, resumed)
    progress = Progress(log, Table(search.tune.metric, trials=proposer.planned(search.tune)))
    if left == 0:
        return 0
    # Named after the search, so that what a killed run left behind is removed by the next one.
    name = f"search-{log.search}"
    folder = search.work.storage / name
    shutil.rmtree(folder, ignore_errors=True)
    tuner = ray_tune.Tuner(
        _trainable(search.work),
        tune_config=ray_tune.TuneConfig(
            search_alg=propose,
            scheduler=_scheduler(search.tune),
            num_samples=left,
            max_concurrent_trials=search.at_once,
            reuse_actors=True,
        ),
        run_config=ray_tune.RunConfig(
            name=name,
            storage_path=str(search.work.storage),
            callbacks=[progress],
            # Nothing is restored from Tune's own files: the journal has the trials that ended.
            checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    try:
        # Tune prints a banner whatever its verbosity; stdout belongs to the result.
        with contextlib.redirect_stdout(sys.stderr):
            results = tuner.fit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not resumed and results.num_errors == len(results):
        _raise_first(results.errors)
    return int(results.num_errors)


def _raise_first(errors: Sequence[Exception]) -> None:
    cause = getattr(errors[0], "cause", errors[0])
    if isinstance(cause, FraudError):
        raise cause
    raise ClusterError(f"all {len(errors)} trials failed, the first with: {cause}") from errors[0]


def _trainable(work: Work) -> type[TrialActor]:
    # A distributed trial only waits for its workers, which are no part of its own request; Tune refuses 0.
    resources = {"cpu": 1 if work.workers == 1 else 0.01}
    made: type[TrialActor] = ray_tune.with_resources(
        ray_tune.with_parameters(TrialActor, work=work), resources
    )
    return made


def _scheduler(tune: TuneSettings) -> TrialScheduler:
    if tune.grid:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr=ROUND,
        metric=VALUE,
        mode="max",
        max_t=space.MAX_ROUNDS,
        grace_period=min(tune.grace_rounds, space.MAX_ROUNDS),
        reduction_factor=tune.reduction_factor,
    )


def _winning(best: Finished) -> dict[str, int | float]:
    return {**best.params, "rounds": best.rounds}


def _row(number: int, trial: Finished, metric: str) -> dict[str, Any]:
    facts = asdict(trial)
    return {"trial": number, metric: facts.pop("value"), **facts}
