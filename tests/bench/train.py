r"""Training on N rows: the product's engine on two workers against one plain XGBoost with two threads.

Both read the same Parquet files, made in the work directory and kept there for the next run, and both are
told the same parameters. Settings of the product that are to differ are given as FRAUD_SECTION__NAME.

    make bench-train ROWS=17500000
    make bench-train ROWS=17500000 OPTIONS="--engine xgboost_ray"
    FRAUD_TRAIN__EXTERNAL_MEMORY=true make bench-train ROWS=17500000
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from support import measured, training_rows
from support.measured import Result, compared, in_turn, run, run_ours, times

from cluster.settings import load
from fraud.features.encode import matrix
from fraud.model.booster import booster_params, from_json, predict
from fraud.model.metrics import average_precision

SUPPORT = Path(__file__).parent / "support"
BYTES_A_ROW = 150
"""Disk for the files and for what may spill."""


def main() -> None:
    parser = measured.parser("train", __doc__)
    parser.add_argument("--engine", choices=("ray_train", "xgboost_ray"), default="ray_train")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="ours alone")
    options = parser.parse_args()
    measured.make_ready(parser, options, bytes_a_row=BYTES_A_ROW)
    print(json.dumps(_measure(options)))


def _measure(options: argparse.Namespace) -> Result:
    folder = training_rows.make(options.work, options.rows)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as boosters:
        runs = {"ours": partial(_ours, folder, options, Path(boosters) / "ours.json")}
        if options.peer:
            runs["peer"] = partial(_plain, folder, options, Path(boosters) / "peer.json")
        results = in_turn(runs, times(options))
    found = compared(options, results, load_before=load_before)
    ours, peer = found["ours"], found["peer"]
    return found | {
        "wall_over_peer": peer and round(ours["seconds"] / peer["seconds"], 3),
        "peak_over_peer": peer and round(ours["peak_bytes"] / peer["peak_bytes"], 3),
    }


def _ours(folder: Path, options: argparse.Namespace, booster: Path) -> Result:
    trained = run_ours(options, "our_training", str(folder), str(booster), "--engine", options.engine)
    return trained | {"average_precision": _precision(booster, folder)}


def _plain(folder: Path, options: argparse.Namespace, booster: Path) -> Result:
    train = load().train
    params = json.dumps(booster_params(train) | {"nthread": options.num_cpus})
    told = ["--label", training_rows.LABEL, "--params", params, "--rounds", str(train.rounds)]
    trained = run([sys.executable, str(SUPPORT / "plain_training.py"), str(folder), str(booster), *told])
    return trained | {"average_precision": _precision(booster, folder)}


def _precision(booster: Path, folder: Path) -> float:
    table = pq.read_table(folder / "test.parquet")
    truth = np.asarray(table.column(training_rows.LABEL).to_numpy(), np.bool_)
    scores = predict(from_json(booster.read_bytes(), path=str(booster)), matrix(table, training_rows.NAMES))
    return average_precision(truth, scores)


if __name__ == "__main__":
    main()
