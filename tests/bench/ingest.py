r"""Ingest of N rows from gzipped CSV files, one a day: the product against plain processes, one for each CPU.

Ours finds what is new, checks every row through the mapping, and commits to Delta. The plain processes parse,
check and write the same columns with pyarrow, made for this one source. The files are made in the work
directory and kept there for the next run.

    make bench-ingest ROWS=17500000
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path

from support import csv_days, measured
from support.handbook_lake import Shape, make
from support.measured import Result, compared, in_turn, run, run_ours, times

PLAIN = Path(__file__).parent / "support" / "plain_ingest.py"
BYTES_A_ROW = 220
"""Disk for the lake the files are made of, the files, and both outputs."""


def main() -> None:
    parser = measured.parser("ingest", __doc__)
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="ours alone")
    options = parser.parse_args()
    measured.make_ready(parser, options, bytes_a_row=BYTES_A_ROW)
    print(json.dumps(_measure(options)))


def _measure(options: argparse.Namespace) -> Result:
    folder = options.work / f"csv-days-{options.rows}"
    if not folder.exists():
        csv_days.write(make(options.work, Shape(options.rows)), folder, options.num_cpus)
    out = options.work / f"ingested-{os.getpid()}"
    runs = {"ours": partial(_ours, folder, out, options)}
    if options.peer:
        runs["peer"] = partial(_plain, folder, out, options)
    load_before = os.getloadavg()[0]
    try:
        results = in_turn(runs, times(options))
    finally:
        shutil.rmtree(out, ignore_errors=True)
    counts = {
        (result["transactions"], result["labels"], result["rejected"])
        for each in results.values()
        for result in each
    }
    if len(counts) != 1 or next(iter(counts))[0] != options.rows:
        sys.exit(f"{options.rows} rows were to be ingested, {counts} were")
    return compared(options, results, load_before=load_before)


def _ours(folder: Path, out: Path, options: argparse.Namespace) -> Result:
    shutil.rmtree(out, ignore_errors=True)
    return run_ours(options, "our_ingest", str(folder), str(out))


def _plain(folder: Path, out: Path, options: argparse.Namespace) -> Result:
    shutil.rmtree(out, ignore_errors=True)
    told = [sys.executable, str(PLAIN), str(folder), str(out), "--processes", str(options.num_cpus)]
    return run(told)


if __name__ == "__main__":
    main()
