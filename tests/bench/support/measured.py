"""Contestants of a benchmark: each in a process of its own, timed by itself, its memory sampled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from support.memory import PeakMemory

Result = dict[str, Any]


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
