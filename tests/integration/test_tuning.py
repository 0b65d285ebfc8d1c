from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fraud.errors import ConfigError, NotEnoughDataError
from fraud.model.split import Fold
from fraud.settings import LabelSettings, TrainSettings
from fraud.storage.lake import Lake
from fraud.storage.tracking import Tracking
from tests.factories_train import FEATURE_SET, START, make_lake
from tuning import journal, search
from tuning.folds import Source, load
from tuning.journal import Finished
from tuning.objective import Objective
from tuning.planning import newest
from tuning.settings import TuneSettings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

LABELS = LabelSettings(label_maturity_d=7)
TUNE = TuneSettings(
    trials=3, folds=2, train_d=5, test_d=3, report_rounds=100, grace_rounds=300, max_concurrent_trials=1
)
TRAIN = TrainSettings(max_bin=64)
GRID = {"rounds": (5, 20), "max_depth": (1, 2)}
PRECISION = Objective("average_precision", 100)


class Killed(BaseException):
    """The process is gone: nothing after it is run."""


class Dying(Tracking):
    """A tracking store whose process is killed while it writes the second trial."""

    def run(self, name: str, **options: Any) -> Any:
        if name != "trial-002":
            return super().run(name, **options)
        super().run(name, **options).__enter__()
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
    tune = TUNE.model_copy(update={"grid": GRID, "metric": "auc_roc"})
    ready = search._prepare(
        lake, FEATURE_SET, objective=Objective("auc_roc", 100), **asked(tmp_path, tune=tune)
    )
    ended = Finished({"rounds": 20, "max_depth": 1}, 0.25, 20, 20, 1.5)
    with journal.opened(ready.file) as log:
        log.append(ended)  # killed after its first trial
    with pytest.raises(Killed):
        run(lake, tmp_path, make_tracking(tmp_path, Dying), tune=tune)  # and again while its runs are written
    assert [file.name for file in (tmp_path / "storage").iterdir()] == [ready.file.name]

    tracking = make_tracking(tmp_path)
    found = run(lake, tmp_path, tracking, tune=tune)

    assert found.report.trials[0] == ended
    again = [(each.params["rounds"], each.params["max_depth"]) for each in found.report.trials[1:]]
    assert again == [(20, 2), (5, 2), (5, 1)]
    assert all(each.rounds == each.trained_rounds == each.params["rounds"] for each in found.report.trials)
    summary = found.summary()
    assert (summary["trials"], summary["completed"], summary["failed"], summary["resumed"]) == (4, 4, 0, 4)
    best = summary["best"]["params"]
    assert summary["best"]["auc_roc"] == max(trial["auc_roc"] for trial in summary["trials_table"])
    assert found.settings == TRAIN.model_copy(update=best)
    children = tracking.children(found.parent_run_id)
    assert [child["status"] for child in children] == ["FINISHED"] * 4
    measured = {child["name"]: child["metrics"]["auc_roc"] for child in children}
    assert measured == {f"trial-00{n}": each.value for n, each in enumerate(found.report.trials, start=1)}
    kept = tmp_path / "artifacts" / found.parent_run_id / "artifacts" / "report"
    assert {file.name for file in kept.iterdir()} == {"report.json", "history.png", "cost.png"}
    assert json.loads((found.folder / "report.json").read_text())["trials"][0]["value"] == 0.25


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


def test_cards_known_from_the_protocols_own_training_days_are_left_out_of_validation(lake: Lake) -> None:
    make_lake(lake, days=30)
    fold = Fold("wide", (date(2026, 3, 1), date(2026, 3, 15)), (date(2026, 3, 22), date(2026, 3, 25)))
    frauds = pa.table(
        {
            "event_time": [datetime(2026, 3, 14, 5, tzinfo=UTC), datetime(2026, 3, 7, 5, tzinfo=UTC)],
            "card_id": [
                "card-3",
                "card-4",
            ],  # of the last of the protocol's seven days, of the day before them
        }
    )
    source = Source(lake, FEATURE_SET, search.pin(lake, FEATURE_SET), timedelta(days=7))
    assert source.validation(fold).num_rows == 3 * 50
    left = replace(source, known_frauds=frauds).validation(fold)
    assert left.num_rows == 3 * 45
    assert "card-3" not in left.column("card_id").to_pylist()


def test_fewer_genuine_rows_train_and_all_of_them_validate(lake: Lake, tmp_path: Path) -> None:
    make_lake(lake, days=25)
    fold = Fold("wide", (date(2026, 3, 1), date(2026, 3, 15)), (date(2026, 3, 22), date(2026, 3, 25)))
    source = Source(lake, FEATURE_SET, search.pin(lake, FEATURE_SET), timedelta(days=7))
    (whole,) = load(source, (fold,), PRECISION, keep_datasets=False)
    (thinned,) = load(replace(source, negative_share=0.3), (fold,), PRECISION, keep_datasets=False)
    assert thinned.train_y.sum() == whole.train_y.sum()
    assert 0 < (~thinned.train_y).sum() < 0.5 * (~whole.train_y).sum()
    assert thinned.answers.is_fraud.size == whole.answers.is_fraud.size


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
