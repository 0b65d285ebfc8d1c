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
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import optuna
import ray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from ray import tune as ray_tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from fraud.errors import ClusterError, ConfigError, FraudError
from fraud.features.spec import FeatureSet
from fraud.jobs.examples import pin
from fraud.settings import LabelSettings, TrainSettings
from fraud.storage.lake import Lake
from tuning import folds as folding
from tuning import journal, space
from tuning.journal import Finished
from tuning.progress import Progress
from tuning.settings import TuneSettings
from tuning.space import Range
from tuning.trial import METRIC, ROUND, Work, run_trial

if TYPE_CHECKING:
    from fraud.storage.tracking import Tracking

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        settings: The winner's training settings, its rounds those of its best report.
        finished: The trials that ended, the best first.
        failed: Trials that ended with an error.
        resumed: Trials of ``finished`` that an earlier, killed run of the same search had done.
        parent_run_id: The MLflow run that the trials' runs belong to.
        seconds: How long it took.
    """

    settings: TrainSettings
    finished: tuple[Finished, ...]
    failed: int
    resumed: int
    parent_run_id: str
    seconds: float

    def report(self) -> dict[str, Any]:
        """Return the result as a JSON-able dict."""
        best = self.finished[0]
        return {
            "trials": len(self.finished) + self.failed,
            "completed": len(self.finished),
            "failed": self.failed,
            "resumed": self.resumed,
            "best": {"params": _winning(best), METRIC: best.average_precision},
            "parent_run_id": self.parent_run_id,
            "seconds": round(self.seconds, 3),
            "trials_table": [asdict(trial) for trial in self.finished],
        }


def run(
    lake: Lake,
    feature_set: FeatureSet,
    *,
    tune: TuneSettings,
    train: TrainSettings,
    labels: LabelSettings,
    tracking: Tracking,
    storage: Path,
    end: date | None,
) -> SearchResult:
    """Search for the training settings of the best mean average precision over the validation folds.

    Started again after a kill with the same lake and settings, it keeps the trials that had ended.

    Args:
        lake: Holds the features and the labels.
        feature_set: Which features.
        tune: Trials, folds and when to stop a trial.
        train: What the search does not vary.
        labels: When a transaction counts as genuine.
        tracking: Where the runs go; only the driver writes.
        storage: Absolute folder for the journal and for Tune's own files.
        end: The day after the last one to use; None uses all.

    Raises:
        ConfigError: ``storage`` is relative, or distributed trials are asked of an engine that cannot nest.
        NotEnoughDataError: Too few days, or a fold of one class.
        ClusterError: Every trial failed.
    """
    _check(tune, train, storage)
    started = time.monotonic()
    work, file = _prepare(lake, feature_set, tune=tune, train=train, labels=labels, storage=storage, end=end)
    resumed = journal.read(file)
    with tracking.run("search", tags={"job": "tune", "features_version": feature_set.version}) as parent:
        failed = _search(work, tune, file, resumed)
        finished = tuple(sorted(journal.read(file), key=lambda trial: -trial.average_precision))
        parent.params({**tune.model_dump(), "features_version": feature_set.version})
        parent.metrics({METRIC: finished[0].average_precision, "completed": len(finished), "failed": failed})
        _track(tracking, parent.id, finished)
    file.unlink()
    settings = space.apply(train, _winning(finished[0]))
    return SearchResult(settings, finished, failed, len(resumed), parent.id, time.monotonic() - started)


def _prepare(
    lake: Lake,
    feature_set: FeatureSet,
    *,
    tune: TuneSettings,
    train: TrainSettings,
    labels: LabelSettings,
    storage: Path,
    end: date | None,
) -> tuple[Work, Path]:
    """Read the folds; returns what the trials share and the journal of exactly this search."""
    versions = pin(lake, feature_set)
    maturity_d = labels.label_maturity_d
    first, last = folding.span(lake, feature_set, end, maturity_d=maturity_d)
    folds = folding.plan(first, last, tune=tune, maturity_d=maturity_d)
    source = folding.Source(lake, feature_set, versions, timedelta(days=maturity_d))
    data = folding.load(source, folds, keep_datasets=tune.workers_per_trial > 1)
    storage.mkdir(parents=True, exist_ok=True)
    identity = {
        "lake": lake.uri,
        "versions": versions,
        "features": feature_set.version,
        "folds": [asdict(fold) for fold in folds],
        # More trials or fewer at once are the same search, gone on with.
        "tune": tune.model_dump(exclude={"trials", "max_concurrent_trials"}),
        "train": train.model_dump(),
        "labels": labels.model_dump(),
    }
    work = Work(data, feature_set.names, train, tune.workers_per_trial, tune.report_rounds, storage)
    return work, journal.file_for(storage, identity)


def concurrency(tune: TuneSettings, train: TrainSettings, cpus: float) -> int:
    """Return how many trials may run at once, so that each that starts can also end.

    A distributed trial asks for no CPU itself, so Tune would start more than the workers of all of them find
    room for, and none would end; one CPU is left to Ray Data, which feeds them.
    """
    room = cpus
    if tune.workers_per_trial > 1:
        room = (cpus - 1) / (tune.workers_per_trial * train.cpus_per_worker)
    return max(1, min(tune.max_concurrent_trials, int(room)))


def _check(tune: TuneSettings, train: TrainSettings, storage: Path) -> None:
    if not storage.is_absolute():
        raise ConfigError(str(storage), "the folder for the search must be absolute, trials run elsewhere")
    if tune.workers_per_trial > 1 and train.engine != "ray_train":
        raise ConfigError(
            "tune.workers_per_trial",
            "distributed trials need train.engine = ray_train; with xgboost_ray use 1",
        )


def _search(work: Work, tune: TuneSettings, file: Path, resumed: Sequence[Finished]) -> int:
    """Run the trials that are left and journal them; returns how many failed."""
    left = tune.trials - len(resumed)
    if left <= 0:
        return 0
    name = f"search-{uuid4().hex[:8]}"
    callback = Progress(file, trials=tune.trials, finished=len(resumed))
    try:
        # Tune prints a banner whatever its verbosity; stdout belongs to the result.
        with contextlib.redirect_stdout(sys.stderr):
            results = _tuner(work, tune, callback, resumed, name=name).fit()
    finally:
        shutil.rmtree(work.storage / name, ignore_errors=True)
    if not resumed and results.num_errors == len(results):
        _raise_first(results.errors)
    return int(results.num_errors)


def _raise_first(errors: Sequence[Exception]) -> None:
    cause = getattr(errors[0], "cause", errors[0])
    if isinstance(cause, FraudError):
        raise cause
    raise ClusterError(f"all {len(errors)} trials failed, the first with: {cause}") from errors[0]


def _tuner(
    work: Work, tune: TuneSettings, callback: Progress, resumed: Sequence[Finished], *, name: str
) -> ray_tune.Tuner:
    # A distributed trial only waits for its workers, which are no part of its own request; Tune refuses 0.
    resources = {"cpu": 1 if work.workers == 1 else 0.01}
    trainable = ray_tune.with_resources(ray_tune.with_parameters(run_trial, work=work), resources)
    return ray_tune.Tuner(
        trainable,
        tune_config=ray_tune.TuneConfig(
            search_alg=_proposer(tune, resumed),
            scheduler=ASHAScheduler(
                time_attr=ROUND,
                metric=METRIC,
                mode="max",
                max_t=space.MAX_ROUNDS,
                grace_period=min(tune.grace_rounds, space.MAX_ROUNDS),
                reduction_factor=tune.reduction_factor,
            ),
            num_samples=tune.trials - len(resumed),
            max_concurrent_trials=concurrency(tune, work.train, ray.cluster_resources().get("CPU", 1.0)),
            reuse_actors=True,
        ),
        run_config=ray_tune.RunConfig(
            name=name,
            storage_path=str(work.storage),
            callbacks=[callback],
            verbose=0,
        ),
    )


def _proposer(tune: TuneSettings, resumed: Sequence[Finished]) -> OptunaSearch:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return OptunaSearch(
        {name: _distribution(values) for name, values in space.SPACE.items()},
        metric=METRIC,
        mode="max",
        # Another seed after a resume: the same one would propose the finished trials again.
        seed=tune.seed + len(resumed),
        points_to_evaluate=[trial.params for trial in resumed] or None,
        evaluated_rewards=[trial.average_precision for trial in resumed] or None,
    )


def _distribution(values: Range) -> BaseDistribution:
    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log, step=values.step)
    return FloatDistribution(values.low, values.high, log=values.log)


def _winning(best: Finished) -> dict[str, int | float]:
    return {**best.params, "rounds": best.rounds}


def _track(tracking: Tracking, parent_id: str, finished: Sequence[Finished]) -> None:
    for number, trial in enumerate(finished):
        with tracking.run(f"trial-{number:03}", parent=parent_id, tags={"job": "trial"}) as child:
            child.params(trial.params)
            child.metrics(
                {
                    METRIC: trial.average_precision,
                    "rounds": trial.rounds,
                    "trained_rounds": trial.trained_rounds,
                    "seconds": trial.seconds,
                }
            )
