from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fraud.errors import ConfigError, NotEnoughDataError
from fraud.settings import LabelSettings, TrainSettings
from fraud.storage.lake import Lake
from fraud.storage.tracking import Run, Tracking
from tests.factories_train import FEATURE_SET, START, make_lake
from tuning import journal, search
from tuning.folds import Source, load
from tuning.objective import Objective
from tuning.planning import newest
from tuning.settings import TuneSettings
from tuning.space import SPACE

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

LABELS = LabelSettings(label_maturity_d=7)
TUNE = TuneSettings(
    trials=3, folds=2, train_d=5, test_d=3, report_rounds=100, grace_rounds=300, max_concurrent_trials=1
)
TRAIN = TrainSettings(max_bin=64)
PRECISION = Objective("average_precision", 100)


class Killed(BaseException):
    """The process is gone: nothing after it is run."""


class Dying(Tracking):
    """A tracking store whose process is killed while it writes the second trial."""

    def run(self, name: str, **options: Any) -> Any:
        if name != "trial-002":
            return super().run(name, **options)
        client_run = super().run(name, **options).__enter__()
        assert isinstance(client_run, Run)
        raise Killed


def make_tracking(folder: Path, kind: type[Tracking] = Tracking) -> Tracking:
    return kind(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), "test")


def asked(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "tune": TUNE,
        "train": TRAIN,
        "labels": LABELS,
        "storage": tmp_path / "storage",
        "end": None,
        **changes,
    }


def run(lake: Lake, tmp_path: Path, tracking: Tracking, **changes: Any) -> search.SearchResult:
    return search.run(
        lake,
        FEATURE_SET,
        tracking=tracking,
        top_k_cards=100,
        reports=tmp_path / "reports",
        **asked(tmp_path, **changes),
    )


def test_search_killed_at_any_time_goes_on_and_is_tracked_once(lake: Lake, tmp_path: Path) -> None:
    make_lake(lake, days=30)
    ready = search._prepare(lake, FEATURE_SET, objective=PRECISION, **asked(tmp_path))
    one = replace(ready, tune=TUNE.model_copy(update={"trials": 1}))
    with journal.opened(ready.file) as log:
        assert search._search(one, log) == 0  # a search of three, killed after its first trial
    with pytest.raises(Killed):
        run(lake, tmp_path, make_tracking(tmp_path, Dying))  # and again while its runs are written
    names = [file.name for file in (tmp_path / "storage").iterdir()]
    assert names == [ready.file.name]

    tracking = make_tracking(tmp_path)
    found = run(lake, tmp_path, tracking)

    summary = found.summary()
    assert (summary["trials"], summary["completed"], summary["failed"], summary["resumed"]) == (3, 3, 0, 3)
    table = summary["trials_table"]
    assert len({str(trial["params"]) for trial in table}) == 3
    assert all(trial["params"].keys() == SPACE.keys() for trial in table)
    assert summary["best"]["average_precision"] == max(trial["average_precision"] for trial in table)
    best = summary["best"]["params"]
    assert {name: getattr(found.settings, name) for name in best} == best
    assert found.settings.max_bin == TRAIN.max_bin
    children = tracking.children(found.parent_run_id)
    assert [child["status"] for child in children] == ["FINISHED"] * 3
    assert sorted(child["name"] for child in children) == ["trial-001", "trial-002", "trial-003"]
    assert sorted(child["metrics"]["average_precision"] for child in children) == sorted(
        trial["average_precision"] for trial in table
    )
    facts = json.loads((found.folder / "report.json").read_text())
    assert [trial["value"] for trial in facts["trials"]] == [trial.value for trial in found.report.trials]
    kept = {
        file.name for file in (tmp_path / "artifacts" / found.parent_run_id / "artifacts/report").iterdir()
    }
    assert (
        kept == {file.name for file in found.folder.iterdir()} == {"report.json", "history.png", "cost.png"}
    )


def test_grid_is_trained_as_asked_by_one_process_that_builds_its_matrices_once(
    lake: Lake, tmp_path: Path
) -> None:
    make_lake(lake, days=30)
    tune = TUNE.model_copy(update={"grid": {"rounds": (5, 20), "max_depth": (1, 2)}, "metric": "auc_roc"})
    ready = search._prepare(
        lake, FEATURE_SET, objective=Objective("auc_roc", 100), **asked(tmp_path, tune=tune)
    )
    with journal.opened(ready.file) as log:
        assert search._search(ready, log) == 0
        trials = log.trials()
    assert [(each.params["rounds"], each.params["max_depth"]) for each in trials] == [
        (20, 2), (20, 1), (5, 2), (5, 1),
    ]  # fmt: skip
    assert all(each.rounds == each.trained_rounds == each.params["rounds"] for each in trials)


def test_search_whose_trials_all_fail_says_why(lake: Lake, tmp_path: Path) -> None:
    make_lake(lake, days=30)
    ready = search._prepare(lake, FEATURE_SET, objective=PRECISION, **asked(tmp_path))
    fold = ready.work.folds[0]
    answers = replace(fold.answers, is_fraud=np.zeros_like(fold.answers.is_fraud))
    blind = replace(ready.work, folds=(replace(fold, answers=answers),))
    one = TUNE.model_copy(update={"trials": 1})
    with (
        journal.opened(ready.file) as log,
        pytest.raises(NotEnoughDataError, match="cannot be measured"),
    ):
        search._search(replace(ready, work=blind, tune=one), log)


def test_training_rows_of_a_fold_know_no_label_from_its_validation_days(lake: Lake) -> None:
    make_lake(lake, days=30)
    first = START.date()
    tune = TuneSettings(folds=1, train_d=5, test_d=3)
    folds = newest(first, first + timedelta(days=23), tune=tune, labels=LABELS)
    patient = Source(lake, FEATURE_SET, search.pin(lake, FEATURE_SET), timedelta(days=7))
    hasty = Source(lake, FEATURE_SET, search.pin(lake, FEATURE_SET), timedelta(days=0))
    assert folds[0].test == (date(2026, 3, 21), date(2026, 3, 24))
    assert folds[0].train == (date(2026, 3, 9), date(2026, 3, 14))
    (known,) = load(patient, folds, PRECISION, keep_datasets=False)
    assert known.train_y.size == 5 * 50
    assert known.answers.is_fraud.size == 3 * 50
    np.testing.assert_array_equal(known.train_y, known.train_x[:, 0] > 9000)
    # Validation rows judged on their last day, before any of their labels came: no fraud is known.
    with pytest.raises(NotEnoughDataError, match="2026-03-21 to before 2026-03-24"):
        load(hasty, folds, PRECISION, keep_datasets=False)


def test_search_is_refused_before_it_starts(lake: Lake, tmp_path: Path) -> None:
    make_lake(lake, days=20)
    tracking = make_tracking(tmp_path)
    with pytest.raises(NotEnoughDataError, match=r"needs 18 days .* there are 13"):
        run(lake, tmp_path, tracking)
    published = TUNE.model_copy(update={"protocol": "handbook-validation"})
    with pytest.raises(
        NotEnoughDataError, match="a search on handbook-validation needs transactions of 2018"
    ):
        run(lake, tmp_path, tracking, tune=published)
    with pytest.raises(ConfigError, match="absolute"):
        run(lake, tmp_path, tracking, storage=Path("storage"))
    nested = TUNE.model_copy(update={"workers_per_trial": 2})
    other = TRAIN.model_copy(update={"engine": "xgboost_ray"})
    with pytest.raises(ConfigError, match="workers_per_trial"):
        run(lake, tmp_path, tracking, tune=nested, train=other)
