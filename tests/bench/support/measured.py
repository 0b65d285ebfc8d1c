"""Contestants of a benchmark: each in a process of its own, timed by itself, its memory sampled."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from support.memory import PeakMemory

Result = dict[str, Any]

SMALL_ROWS = 5_000_000
"""Up to so many rows are measured three times, more of them once."""


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The options of all benchmarks that take rows."""
    made = argparse.ArgumentParser(prog=f"make bench-{name}", description=str(description).splitlines()[0])
    made.add_argument("--rows", type=positive, default=1_750_000)
    made.add_argument("--repeat", type=positive, default=0, help="runs of each, the fastest counts")
    made.add_argument("--num-cpus", type=positive, default=2)
    made.add_argument("--object-store-bytes", type=positive, default=2 * 2**30)
    made.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "fraud-bench")
    return made


def positive(text: str) -> int:
    """The value of an option that counts something."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def make_ready(parser: argparse.ArgumentParser, options: argparse.Namespace, *, bytes_a_row: int) -> None:
    """Make the work directory, see to its disk, and take so many CPUs as are to be used."""
    try:
        options.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--work {options.work}: {error.strerror}")
    free, needed = shutil.disk_usage(options.work).free, options.rows * bytes_a_row
    if free < needed:
        parser.error(
            f"{options.work} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} are needed: see --work"
        )
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.num_cpus])
    # The clusters of other people are not what is measured.
    os.environ.pop("RAY_ADDRESS", None)


def times(options: argparse.Namespace) -> int:
    """How often each is run."""
    return options.repeat or (3 if options.rows <= SMALL_ROWS else 1)


def run(command: Sequence[str], **environment: str) -> Result:
    """Run one of the two in a process of its own; the last line of its output is its result."""
    with PeakMemory() as memory:
        ended = subprocess.run(
            command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=False
        )
    if ended.returncode:
        sys.exit(f"{' '.join(command)}\nended with {ended.returncode}; what it said is above")
    result: Result = json.loads(ended.stdout.splitlines()[-1])
    return result | {"peak_bytes": memory.peak_bytes}


def run_ours(options: argparse.Namespace, module: str, *told: str) -> Result:
    """Run a module beside this one, which starts the product with a Ray of the size in the options."""
    sizes = ["--num-cpus", str(options.num_cpus), "--object-store-bytes", str(options.object_store_bytes)]
    command = [sys.executable, "-m", f"support.{module}", *told, *sizes]
    return run(command, PYTHONPATH=str(Path(__file__).parents[1]))


def in_turn(runs: Mapping[str, Callable[[], Result]], times: int) -> dict[str, list[Result]]:
    """Run each of them so many times, one after the other: a slow phase of the machine meets all."""
    results: dict[str, list[Result]] = {name: [] for name in runs}
    for _ in range(times):
        for name, each in runs.items():
            results[name].append(each())
            print(f"{name}: {results[name][-1]}", file=sys.stderr)
    return results


def best(rows: int, results: Sequence[Result]) -> Result:
    """The fastest run; of the memory, the most that any run took."""
    fastest = min(results, key=lambda result: float(result["seconds"]))
    rounded: Result = json.loads(json.dumps(fastest), parse_float=lambda text: round(float(text), 4))
    return rounded | {
        "rows_per_s": round(rows / fastest["seconds"]),
        "peak_bytes": max(result["peak_bytes"] for result in results),
        "all_seconds": [round(result["seconds"], 3) for result in results],
    }


def compared(
    options: argparse.Namespace,
    results: Mapping[str, Sequence[Result]],
    *,
    load_before: float,
    peer_rows: int = 0,
) -> Result:
    """What a benchmark prints: the best of ours and of the peer, if any, which may have fewer rows."""
    ours = best(options.rows, results["ours"])
    peer = best(peer_rows or options.rows, results["peer"]) if "peer" in results else None
    return {
        "rows": options.rows,
        "ours": ours,
        "peer": peer,
        "ratio": peer and round(ours["rows_per_s"] / peer["rows_per_s"], 3),
        "load_before": round(load_before, 2),
        "options": {name: str(value) if name == "work" else value for name, value in vars(options).items()},
    }
