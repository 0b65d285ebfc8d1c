from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import matplotlib as mpl
import numpy as np

from fraud.model.split import fold
from tuning import report
from tuning.journal import Finished
from tuning.proposer import distributions
from tuning.report import FEWEST, Report, add_test, importance, write
from tuning.settings import TuneSettings

SPACE = distributions(TuneSettings())
FOLD = fold(date(2018, 7, 11), train_d=7, gap_d=7, test_d=7)
PNG = b"\x89PNG"


def make_trials(count: int, *, seed: int = 0) -> tuple[Finished, ...]:
    """Trials whose value depends on the depth alone."""
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        params = {
            "max_depth": int(rng.integers(2, 9)),
            "learning_rate": float(rng.uniform(0.03, 0.3)),
            "rounds": int(rng.integers(5, 31)) * 10,
            "min_child_weight": float(rng.uniform(0.1, 20)),
            "subsample": float(rng.uniform(0.5, 1)),
            "colsample_bytree": float(rng.uniform(0.5, 1)),
            "reg_lambda": float(rng.uniform(0.1, 20)),
        }
        value = 0.7 - 0.02 * abs(params["max_depth"] - 4)
        trials.append(Finished(params, value, params["rounds"], params["rounds"], 1.0 + number))
    return tuple(trials)


def make_report(trials: tuple[Finished, ...]) -> Report:
    return Report("abc", "average_precision", "handbook-validation", (FOLD,), trials, SPACE)


def test_parameter_that_decides_is_the_important_one() -> None:
    shares = importance(make_trials(30), SPACE)
    assert next(iter(shares)) == "max_depth"
    assert shares["max_depth"] > 0.7
    assert abs(sum(shares.values()) - 1) < 1e-9


def test_nothing_is_said_of_importance_from_too_little() -> None:
    assert importance(make_trials(FEWEST - 1), SPACE) == {}
    equal = tuple(Finished(trial.params, 0.5, 10, 10, 1.0) for trial in make_trials(20))
    assert importance(equal, SPACE) == {}


def test_first_of_the_best_trials_is_the_best() -> None:
    low, high = (Finished({}, value, 10, 10, 1.0) for value in (0.1, 0.9))
    assert make_report((low, high, high)).best == 2


def test_report_is_written_with_its_pictures(tmp_path: Path) -> None:
    made = make_report(make_trials(12))
    files = write(made, tmp_path / "report")
    assert [file.name for file in files] == ["report.json", "history.png", "cost.png", "importance.png"]
    assert all(file.read_bytes().startswith(PNG) for file in files[1:])
    assert all(5_000 < file.stat().st_size < 100_000 for file in files[1:])
    facts = json.loads(files[0].read_text())
    assert facts["best"] == made.best
    assert facts["folds"] == [
        {"train": ["2018-07-11", "2018-07-18"], "validation": ["2018-07-25", "2018-08-01"]}
    ]
    assert [trial["trial"] for trial in facts["trials"]] == list(range(1, 13))
    assert [trial["test"] for trial in facts["trials"]] == [None] * 12


def test_figures_on_test_come_into_the_report_of_a_search_that_ended(tmp_path: Path) -> None:
    made = make_report(make_trials(12))
    files = write(made, tmp_path)
    (picture,) = add_test(tmp_path, {made.best: 0.66, 5: 0.61})
    assert picture.read_bytes().startswith(PNG)
    trials = {trial["trial"]: trial["test"] for trial in json.loads(files[0].read_text())["trials"]}
    assert (trials[made.best], trials[5], trials[7]) == (0.66, 0.61, None)


def test_single_trial_has_a_report(tmp_path: Path) -> None:
    files = write(make_report(make_trials(1)), tmp_path, test={1: 0.5})
    assert [file.name for file in files] == ["report.json", "history.png", "cost.png", "test.png"]


def test_pictures_leave_nothing_global_behind(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    write(make_report(make_trials(12)), tmp_path)
    assert dict(mpl.rcParams) == before
    assert "pyplot" not in vars(report.pictures)
