"""A load that goes on in a process of its own, so that it takes nothing from who waits for it."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from load import Plan
from support.tally import Report

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
_SCRIPT = Path(__file__).parents[1] / "load.py"


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Generator:
    """``load.py`` as a process."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Start it.

        Args:
            plan: The load.
            folder: Gets its files.
        """
        name = f"load-{time.monotonic_ns()}"
        self.acknowledged = folder / f"{name}.log"
        """A line for each 2xx: number, id, SHA-256 of the answer."""
        self._samples = folder / f"{name}.npy"
        given = {name: value for name, value in asdict(plan).items() if value not in ("", 0, 0.0)}
        options = [
            text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))
        ]
        files = ["--samples", str(self._samples), "--log", str(self.acknowledged)]
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, str(_SCRIPT), *options, *files],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=_end_with_parent,
        )

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, where it was not waited for."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> Report:
        """Have it start no further request, and wait for its end."""
        self._process.terminate()
        return self.report()

    def report(self) -> Report:
        """Wait for its end."""
        said, _ = self._process.communicate()
        return Report(**json.loads(said))

    def samples(self) -> np.ndarray:
        """Intended start and latency in seconds, and status, of every attempt, in the order of the starts."""
        found = np.load(self._samples)
        return found[np.argsort(found[:, 0], kind="stable")]
