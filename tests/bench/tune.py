r"""The Handbook's grid of 18 settings over its four validation weeks: the product against Optuna and joblib.

Both fit the same 72 boosters on the same rows with as many processes. The peer is given its rows as arrays;
the product reads them from the lake, and writes its journal, its runs in MLflow and its report in its time.

    make bench-tune
    make bench-tune OPTIONS="--max-bin 4096"
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from support.handbook_lake import CHECKOUT, ingested
from support.memory import PeakMemory

from cluster import logs
from cluster.runtime import connect, prepare

prepare(local=True)  # Ray and Tune read their environment when they are imported

from cluster.settings import RaySettings  # noqa: E402
from fraud.features.spec import FeatureSet, load  # noqa: E402
from fraud.jobs import featurize  # noqa: E402
from fraud.settings import FeatureSettings, LabelSettings, TrainSettings  # noqa: E402
from fraud.storage.lake import Lake  # noqa: E402
from fraud.storage.tracking import Tracking  # noqa: E402
from tuning import search  # noqa: E402
from tuning.objective import Objective  # noqa: E402
from tuning.settings import TuneSettings  # noqa: E402

PEER = Path(__file__).parent / "support" / "optuna_grid.py"
GRID = {"rounds": (25, 50, 100), "learning_rate": (0.1, 0.3), "max_depth": (3, 6, 9)}
LABELS = LabelSettings()
CARDS = 100

Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-tune", description=str(__doc__).splitlines()[0])
    parser.add_argument("--num-cpus", type=int, default=2, help="processes of each")
    parser.add_argument("--max-bin", type=int, default=65536)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "fraud-bench")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.num_cpus])
    os.environ.pop("RAY_ADDRESS", None)  # the clusters of other people are not what is measured
    logs.configure()
    print(json.dumps(_measure(options)))


def _measure(options: argparse.Namespace) -> Result:
    features = load("handbook", CHECKOUT / "configs" / "features")
    lake = ingested(options.work)
    if not lake.exists(features.table):
        featurize.run(lake, features, FeatureSettings())
    folder = Path(tempfile.mkdtemp(prefix="tune-", dir=options.work))
    tune = TuneSettings(
        protocol="handbook-validation", grid=GRID, max_concurrent_trials=options.num_cpus, train_d=7
    )
    train = TrainSettings(max_bin=options.max_bin)
    load_before = os.getloadavg()[0]
    try:
        with connect(RaySettings(num_cpus=options.num_cpus, dashboard=False), name="bench tune"):
            ours = _ours(lake, features, tune, train, folder)
        peer = _peer(folder, tune, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _compared(ours, peer) | {
        "load_before": round(load_before, 2),
        "options": {**vars(options), "work": str(options.work)},
    }


def _ours(lake: Lake, features: FeatureSet, tune: TuneSettings, train: TrainSettings, folder: Path) -> Result:
    asked: dict[str, Any] = {"tune": tune, "train": train, "labels": LABELS, "storage": folder, "end": None}
    with PeakMemory() as memory:
        ready = search._prepare(lake, features, objective=Objective(tune.metric, CARDS), **asked)
        for fold in ready.work.folds:
            np.savez(
                folder / f"{fold.name}.npz",
                train_x=fold.train_x,
                train_y=fold.train_y,
                test_x=fold.test_x,
                test_y=fold.answers.is_fraud,
            )
        started = time.perf_counter()
        found = search.run(
            lake,
            features,
            top_k_cards=CARDS,
            tracking=Tracking(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), "bench"),
            reports=folder / "reports",
            **asked,
        )
        seconds = time.perf_counter() - started
    values = [[trial.params, trial.value] for trial in found.report.trials]
    fits = sum(trial.seconds for trial in found.report.trials)
    return {"seconds": seconds, "fit_seconds": fits, "peak_bytes": memory.peak_bytes, "values": values}


def _peer(folder: Path, tune: TuneSettings, options: argparse.Namespace) -> Result:
    command = [
        sys.executable, str(PEER), str(folder), json.dumps(tune.model_dump(mode="json")["grid"]),
        "--processes", str(options.num_cpus), "--max-bin", str(options.max_bin),
    ]  # fmt: skip
    with PeakMemory() as memory:
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: Result = json.loads(ended.stdout.splitlines()[-1])
    return result | {"peak_bytes": memory.peak_bytes}


def _compared(ours: Result, peer: Result) -> Result:
    """Both results without their values; a ratio above 1 is a product faster than the peer."""
    values = {name: {_key(p): value for p, value in side["values"]} for name, side in _sides(ours, peer)}
    apart = max(abs(values["peer"][key] - value) for key, value in values["ours"].items())
    best = {name: max(side["values"], key=lambda pair: pair[1]) for name, side in _sides(ours, peer)}
    if values["ours"].keys() != values["peer"].keys() or _key(best["ours"][0]) != _key(best["peer"][0]):
        sys.exit(f"ours and the peer differ: {best['ours']} and {best['peer']}")
    report = {
        name: {
            "seconds": round(side["seconds"], 2),
            "fit_seconds": round(side["fit_seconds"], 2),
            "peak_bytes": side["peak_bytes"],
            "best": best[name][0],
            "average_precision": round(best[name][1], 5),
        }
        for name, side in _sides(ours, peer)
    }
    return {
        "settings": len(values["ours"]),
        **report,
        "ratio": round(peer["seconds"] / ours["seconds"], 3),
        "largest_difference": apart,
    }


def _sides(ours: Result, peer: Result) -> tuple[tuple[str, Result], ...]:
    return ("ours", ours), ("peer", peer)


def _key(params: dict[str, Any]) -> str:
    return json.dumps({name: float(value) for name, value in params.items()}, sort_keys=True)


if __name__ == "__main__":
    main()
