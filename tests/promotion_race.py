"""What has to hold after processes have registered and promoted at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from factories_train import make_bundle

from fraud.storage.lake import Lake
from fraud.storage.registry import Registry

ROOT = Path(__file__).parents[1]


def race(uri: str, artifacts: str, folder: Path, *, processes: int, times: int) -> None:
    """Let processes race for one model, then check versions, history and the champion."""
    bundle = make_bundle(folder / "bundle")
    lake, model = Lake(str(folder / "lake")), f"race-{folder.name}"
    arguments = [uri, artifacts, lake.uri, model, bundle.path, str(processes), str(times)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.promoters", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    registry = Registry(uri, model, lake)
    promoted = processes * times
    assert sorted(int(ref.version) for ref in registry.versions()) == list(range(1, promoted + 1))
    chain = registry.history()
    assert [change["number"] for change in chain] == list(range(1, promoted + 1))
    assert sorted(int(change["to"]) for change in chain) == list(range(1, promoted + 1))
    assert [change["from"] for change in chain] == [None, *(change["to"] for change in chain[:-1])]
    assert registry.resolve("champion").version == chain[-1]["to"]
    # MLflow's own alias is a copy, and a right one once all have settled.
    assert registry._copied_aliases() == registry.aliases() == {"champion": chain[-1]["to"]}
