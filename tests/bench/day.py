r"""One day of N new transactions on top of 60 days of as many each: ingest, features, scores.

The 60 days and their features are made in the work directory and kept; every run gets them as links,
and brings the day from 24 gzipped CSV files through the three jobs, in one process with one Ray. Rows are
rounded up to whole copies of the Handbook's day.

    make bench-day ROWS=1000000
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from support import csv_days, measured
from support.handbook_lake import SIZES, Shape, make
from support.measured import Result, best, in_turn, run_ours, times
from support.scored_model import FEATURES, prepare

from fraud.storage.lake import Lake

HISTORY_DAYS = 60
FILES = 24
"""A day comes in by the hour."""
ROWS_A_DAY = SIZES["transaction_id"] / 183
"""Of the Handbook data."""
BYTES_A_ROW = 250 * (HISTORY_DAYS + 1)


def main() -> None:
    parser = measured.parser("day", __doc__)
    options = parser.parse_args()
    measured.make_ready(parser, options, bytes_a_row=BYTES_A_ROW)
    print(json.dumps(_measure(options)))


def _measure(options: argparse.Namespace) -> Result:
    rows = round(options.rows / ROWS_A_DAY) * SIZES["transaction_id"]
    history = make(options.work, Shape(rows, days=(0, HISTORY_DAYS)))
    if not history.exists(FEATURES.table):
        run_ours(options, "our_features", history.uri)
    bundle = prepare(options.work / "scored-model", history, options.num_cpus)
    day = make(options.work, Shape(rows, days=(HISTORY_DAYS, HISTORY_DAYS + 1)))
    folder = options.work / f"{Path(day.uri).name}-csv"
    source = csv_days.write(day, folder, options.num_cpus, files_a_day=FILES)
    load_before = os.getloadavg()[0]
    results = in_turn({"ours": lambda: _day(history, source, bundle, options)}, times(options))["ours"]
    found = best(int(results[0]["transactions"]), results)
    per_core = found["transactions"] / found["seconds"] / options.num_cpus
    return {**found, "transactions_per_s_per_core": round(per_core), "load_before": load_before}


def _day(history: Lake, source: Path, bundle: Path, options: argparse.Namespace) -> Result:
    folder = options.work / f"day-{os.getpid()}"
    shutil.copytree(history.uri, folder, copy_function=os.link)  # files of a Delta table never change
    try:
        found = run_ours(options, "our_day", str(folder), str(source), str(bundle))
    finally:
        shutil.rmtree(folder)
    if not found["transactions"] == found["featurized"] == found["scored"]:
        sys.exit(f"not every transaction of the day became a score: {found}")
    return found


if __name__ == "__main__":
    main()
