"""Finished trials on disk, one JSON line each, so that a search that was killed goes on where it stood.

Ray Tune can restore an experiment only from files that it rewrites in place and unpickles; an append-only
journal survives any kill and is only text.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finished:
    """A trial that ended: as good as ``average_precision`` at ``rounds`` of the ``trained_rounds``."""

    params: dict[str, int | float]
    average_precision: float
    rounds: int
    trained_rounds: int
    seconds: float


def file_for(storage: Path, identity: Mapping[str, Any]) -> Path:
    """Return the journal of the search that this identity describes; another search has another file."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()
    return storage / f"search-{digest[:16]}.jsonl"


def append(journal: Path, trial: Finished) -> None:
    """Add a trial; it is on disk when this returns."""
    with journal.open("a", encoding="utf-8") as file:
        # The newline comes first, so that a line cut short by a kill does not take this one with it.
        file.write("\n" + json.dumps(asdict(trial)))
        file.flush()
        os.fsync(file.fileno())


def read(journal: Path) -> list[Finished]:
    """Return the trials of a journal; a line that a kill cut short is left out."""
    if not journal.is_file():
        return []
    trials = []
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            trials.append(Finished(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return trials
