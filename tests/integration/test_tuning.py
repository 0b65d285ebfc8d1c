from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fraud.errors import ConfigError, NotEnoughDataError
from fraud.settings import LabelSettings, TrainSettings
from fraud.storage.lake import Lake
from fraud.storage.tracking import Tracking
from tests.factories_train import FEATURE_SET, START, make_lake
from tuning import search
from tuning.folds import Source, load, plan
from tuning.settings import TuneSettings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

LABELS = LabelSettings(label_maturity_d=7)
TUNE = TuneSettings(trials=3, folds=2, train_d=5, test_d=3, report_rounds=10, grace_rounds=20)
TRAIN = TrainSettings(max_bin=64)


def make_tracking(folder: Path) -> Tracking:
    return Tracking(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), "test")


def asked(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    storage = tmp_path / "storage"
    return {"tune": TUNE, "train": TRAIN, "labels": LABELS, "storage": storage, "end": None, **changes}


def test_killed_search_goes_on_and_tracks_every_trial(lake: Lake, tmp_path: Path) -> None:
    make_lake(lake, days=30)
    work, journal = search._prepare(lake, FEATURE_SET, **asked(tmp_path))
    one = TUNE.model_copy(update={"trials": 1})
    assert search._search(work, one, journal, []) == 0  # a search of three, killed after its first trial

    tracking = make_tracking(tmp_path)
    found = search.run(lake, FEATURE_SET, tracking=tracking, **asked(tmp_path))

    report = found.report()
    assert (report["trials"], report["completed"], report["failed"], report["resumed"]) == (3, 3, 0, 1)
    table = report["trials_table"]
    assert len({str(trial["params"]) for trial in table}) == 3
    assert report["best"]["average_precision"] == max(trial["average_precision"] for trial in table)
    best = report["best"]["params"]
    assert {name: getattr(found.settings, name) for name in best} == best
    assert found.settings.max_bin == TRAIN.max_bin
    children = tracking.children(found.parent_run_id)
    assert sorted(child["metrics"]["average_precision"] for child in children) == sorted(
        trial["average_precision"] for trial in table
    )
    assert list((tmp_path / "storage").iterdir()) == []


def test_search_whose_trials_all_fail_says_why(lake: Lake, tmp_path: Path) -> None:
    make_lake(lake, days=30)
    work, journal = search._prepare(lake, FEATURE_SET, **asked(tmp_path))
    fold = work.folds[0]
    blind = replace(work, folds=(replace(fold, test_y=np.zeros_like(fold.test_y)),))
    with pytest.raises(NotEnoughDataError, match="cannot be measured"):
        search._search(blind, TUNE.model_copy(update={"trials": 2}), journal, [])


def test_training_rows_of_a_fold_know_no_label_from_its_validation_days(lake: Lake) -> None:
    make_lake(lake, days=30)
    first = START.date()
    tune = TuneSettings(folds=1, train_d=5, test_d=3)
    folds = plan(first, first + timedelta(days=23), tune=tune, maturity_d=7)
    patient = Source(lake, FEATURE_SET, search.pin(lake, FEATURE_SET), timedelta(days=7))
    hasty = Source(lake, FEATURE_SET, search.pin(lake, FEATURE_SET), timedelta(days=0))
    assert folds[0].test == (date(2026, 3, 21), date(2026, 3, 24))
    assert folds[0].train == (date(2026, 3, 9), date(2026, 3, 14))
    (known,) = load(patient, folds, keep_datasets=False)
    assert known.train_y.size == 5 * 50
    assert known.test_y.size == 3 * 50
    np.testing.assert_array_equal(known.train_y, known.train_x[:, 0] > 9000)
    # Validation rows judged on their last day, before any of their labels came: no fraud is known.
    with pytest.raises(NotEnoughDataError, match="2026-03-21 to before 2026-03-24"):
        load(hasty, folds, keep_datasets=False)


def test_search_is_refused_before_it_starts(lake: Lake, tmp_path: Path) -> None:
    make_lake(lake, days=20)
    tracking = make_tracking(tmp_path)
    with pytest.raises(NotEnoughDataError, match=r"needs 18 days .* there are 13"):
        search.run(lake, FEATURE_SET, tracking=tracking, **asked(tmp_path))
    with pytest.raises(ConfigError, match="absolute"):
        search.run(lake, FEATURE_SET, tracking=tracking, **asked(tmp_path, storage=Path("storage")))
    nested = asked(
        tmp_path,
        tune=TUNE.model_copy(update={"workers_per_trial": 2}),
        train=TRAIN.model_copy(update={"engine": "xgboost_ray"}),
    )
    with pytest.raises(ConfigError, match="workers_per_trial"):
        search.run(lake, FEATURE_SET, tracking=tracking, **nested)
