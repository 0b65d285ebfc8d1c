"""The peer of the search: Optuna's grid sampler asks, joblib fits in processes, XGBoost as usually called."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import xgboost as xgb
from joblib import Parallel, delayed
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution
from sklearn.metrics import average_precision_score

Arrays = dict[str, NDArray[Any]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("grid", type=json.loads)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--max-bin", type=int, required=True)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    started = time.perf_counter()
    folds = [dict(np.load(file)) for file in sorted(options.folder.glob("*.npz"))]
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.GridSampler(options.grid))
    space = {name: CategoricalDistribution(values) for name, values in options.grid.items()}
    trials = [
        study.ask(space) for _ in range(int(np.prod([len(values) for values in options.grid.values()])))
    ]
    fits = Parallel(n_jobs=options.processes)(
        delayed(fit)(fold, trial.params, options.max_bin) for trial in trials for fold in folds
    )
    for number, trial in enumerate(trials):
        of_trial = fits[number * len(folds) : (number + 1) * len(folds)]
        with suppress(RuntimeError):  # at the last one, the sampler wants to stop what asks it for more
            study.tell(trial, float(np.mean([value for value, _ in of_trial])))
    seconds = time.perf_counter() - started
    values = [[trial.params, trial.value] for trial in study.trials]
    spent = sum(each for _, each in fits)
    print(json.dumps({"seconds": seconds, "fit_seconds": spent, "values": values}))


def fit(fold: Arrays, params: dict[str, Any], max_bin: int) -> tuple[float, float]:
    """Return the average precision of one booster on a fold, and the seconds it took."""
    started = time.perf_counter()
    train = xgb.QuantileDMatrix(
        fold["train_x"], label=fold["train_y"].astype(np.float32), max_bin=max_bin, nthread=1
    )
    booster = xgb.train(
        {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "base_score": 0.5,
            "max_bin": max_bin,
            "learning_rate": params["learning_rate"],
            "max_depth": params["max_depth"],
            "nthread": 1,
        },
        train,
        num_boost_round=params["rounds"],
    )
    scores = booster.inplace_predict(fold["test_x"])
    return float(average_precision_score(fold["test_y"], scores)), time.perf_counter() - started


if __name__ == "__main__":
    main()
