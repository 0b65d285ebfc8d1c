r"""Batch scoring of N rows: the product against one plain process with as many threads as there are CPUs.

Ours reads the features from Delta and commits scores, decisions and reasons to Delta. The plain process reads
the same files with pyarrow, predicts with the same booster and writes Parquet; it knows no reasons, so ours
gives none unless it is told to. The lake is made in the work directory and kept there for the next run, but
for what the runs write.

    make bench-score ROWS=17500000
    make bench-score ROWS=17500000 OPTIONS="--reviewed 0.01"
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path

from support import measured
from support.handbook_lake import Shape, make
from support.measured import Result, compared, in_turn, run, run_ours, times
from support.scored_model import FEATURES, prepare

from fraud import schema
from fraud.storage.lake import Lake

SUPPORT = Path(__file__).parent / "support"
BYTES_A_ROW = 250
"""Disk for the lake, its features and both outputs."""


def main() -> None:
    parser = measured.parser("score", __doc__)
    parser.add_argument("--reviewed", type=float, default=0.0, metavar="SHARE", help="of rows with reasons")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="ours alone")
    options = parser.parse_args()
    measured.make_ready(parser, options, bytes_a_row=BYTES_A_ROW)
    print(json.dumps(_measure(options)))


def _measure(options: argparse.Namespace) -> Result:
    lake = _featurized(options)
    bundle = prepare(options.work / "scored-model", lake, options.num_cpus)
    out = options.work / f"plain-scores-{os.getpid()}"
    runs = {"ours": partial(_ours, lake, bundle, options)}
    if options.peer:
        runs["peer"] = partial(_plain, lake, bundle, out, options)
    load_before = os.getloadavg()[0]
    try:
        results = in_turn(runs, times(options))
    finally:
        shutil.rmtree(lake.table_uri(schema.SCORES), ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)
    scored = {result["scored"] for each in results.values() for result in each}
    if scored != {options.rows}:
        sys.exit(f"{options.rows} rows were to be scored, {scored} were")
    return compared(options, results, load_before=load_before)


def _featurized(options: argparse.Namespace) -> Lake:
    lake = make(options.work, Shape(options.rows))
    if not lake.exists(FEATURES.table):
        run_ours(options, "our_features", lake.uri)
    return lake


def _ours(lake: Lake, bundle: Path, options: argparse.Namespace) -> Result:
    shutil.rmtree(lake.table_uri(schema.SCORES), ignore_errors=True)
    return run_ours(options, "our_scoring", lake.uri, str(bundle), "--reviewed", str(options.reviewed))


def _plain(lake: Lake, bundle: Path, out: Path, options: argparse.Namespace) -> Result:
    shutil.rmtree(out, ignore_errors=True)
    files = [lake.table_uri(FEATURES.table), str(bundle / "booster.json"), str(out)]
    told = ["--names", ",".join(FEATURES.names), "--threads", str(options.num_cpus)]
    return run([sys.executable, str(SUPPORT / "plain_scoring.py"), *files, *told])


if __name__ == "__main__":
    main()
