r"""Features of N rows: the product against Polars, or against itself on plainer or fewer rows.

Everything is made in the work directory and kept there for the next run, but for what the runs write.
Settings of the product that are to differ are given as FRAUD_SECTION__NAME, as always.

    make bench-features ROWS=17500000
    make bench-features ROWS=17500000 OPTIONS="--hot-terminal 10000000 --peer plain"
    make bench-features ROWS=17500000 OPTIONS="--null-terminals 0.5 --peer plain"
    make bench-features ROWS=100000000 OPTIONS="--object-store-bytes 6442450944 --peer plain \
        --peer-rows 17500000"
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from support import measured
from support.equality import DifferenceError, compare
from support.handbook_lake import CHECKOUT, Shape, make
from support.measured import Result, compared, in_turn, positive, run, run_ours, times

from fraud.features.spec import load
from fraud.storage.lake import Lake

SUPPORT = Path(__file__).parent / "support"
PEER_PYTHON = CHECKOUT / ".venv-bench" / "bin" / "python"
FEATURES = load("handbook", CHECKOUT / "configs" / "features")
BYTES_A_ROW = 150
"""Disk for the input, both outputs and what spills."""


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    if options.null_terminals and options.peer == "polars":
        parser.error("--null-terminals needs --peer plain or --peer none: the plan for Polars knows no null")
    if options.hot_terminal > options.rows:
        parser.error(f"--hot-terminal {options.hot_terminal} is more than all {options.rows} rows")
    if options.peer_rows and options.peer != "plain":
        parser.error("--peer-rows needs --peer plain")
    measured.make_ready(parser, options, bytes_a_row=BYTES_A_ROW)
    print(json.dumps(_measure(options)))


def _parser() -> argparse.ArgumentParser:
    parser = measured.parser("features", __doc__)
    terminals = parser.add_mutually_exclusive_group()
    terminals.add_argument("--hot-terminal", type=positive, default=0, metavar="ROWS", help="that share one")
    terminals.add_argument("--null-terminals", type=_share, default=0.0, metavar="SHARE", help="without one")
    parser.add_argument(
        "--peer",
        choices=("polars", "plain", "none"),
        default="polars",
        help="polars, or the product itself on rows with neither hot nor null terminals",
    )
    parser.add_argument("--peer-rows", type=positive, default=0, metavar="ROWS", help="of the plain peer")
    parser.add_argument("--no-peer", dest="peer", action="store_const", const="none", help="ours alone")
    parser.add_argument("--compression", default="zstd", help="of the peer's file, as the lake's")
    parser.add_argument("--compression-level", type=int, default=1)
    return parser


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return share


def _measure(options: argparse.Namespace) -> Result:
    shape = Shape(options.rows, options.hot_terminal, options.null_terminals)
    lake = _made(options.work, shape)
    peer_file = options.work / f"peer-{os.getpid()}.parquet"
    runs: dict[str, Callable[[], Result]] = {"ours": partial(_ours, lake, options)}
    if options.peer == "polars":
        runs["peer"] = partial(_polars, lake, peer_file, options)
    elif options.peer == "plain":
        runs["peer"] = partial(_ours, _made(options.work, Shape(options.peer_rows or shape.rows)), options)
    load_before = os.getloadavg()[0]
    try:
        results = in_turn(runs, times(options))
        equal_rows = compare(lake, FEATURES, peer_file) if options.peer == "polars" else None
    except DifferenceError as error:
        sys.exit(f"ours and the peer differ: {error}")
    finally:
        shutil.rmtree(lake.table_uri(FEATURES.table), ignore_errors=True)
        peer_file.unlink(missing_ok=True)
    found = compared(options, results, load_before=load_before, peer_rows=options.peer_rows)
    return found | {"rows_compared": equal_rows, "shape": asdict(shape)}


def _made(work: Path, shape: Shape) -> Lake:
    _say(f"input: {work / shape.folder}")
    return make(work, shape)


def _ours(lake: Lake, options: argparse.Namespace) -> Result:
    shutil.rmtree(lake.table_uri(FEATURES.table), ignore_errors=True)
    return run_ours(options, "our_features", lake.uri)


def _polars(lake: Lake, out: Path, options: argparse.Namespace) -> Result:
    codec = ["--compression", options.compression, "--compression-level", str(options.compression_level)]
    names = ",".join(FEATURES.names)
    command = [str(PEER_PYTHON), str(SUPPORT / "polars_features.py"), lake.uri, str(out), names, *codec]
    return run(command, POLARS_MAX_THREADS=str(options.num_cpus))


def _say(message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    main()
