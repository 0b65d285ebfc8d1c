"""The journal of a search: its finished trials on disk, so that one that was killed goes on where it stood.

Ray Tune can restore an experiment only from files that it rewrites in place and unpickles; an append-only
journal survives any kill and is only text: one JSON line that names the search, then one for each trial.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from fraud.errors import ClusterError


@dataclass(frozen=True)
class Finished:
    """A trial that ended: as good as ``value`` at ``rounds`` of the ``trained_rounds``."""

    params: dict[str, int | float]
    value: float
    rounds: int
    trained_rounds: int
    seconds: float


class Journal:
    """The journal of one search, see ``opened``.

    Attributes:
        file: Where it lies.
        search: The search's name, new for each one that starts anew, kept by one that goes on.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.search = next((line["search"] for line in self._lines() if "search" in line), "")
        if not self.search:
            self.search = uuid4().hex[:16]
            self._add({"search": self.search})

    def append(self, trial: Finished) -> None:
        """Add a trial; it is on disk when this returns."""
        self._add(asdict(trial))

    def trials(self) -> list[Finished]:
        """Return the trials in the order they ended; a line that a kill cut short is left out."""
        trials = []
        for line in self._lines():
            try:
                trials.append(Finished(**line))
            except TypeError:
                continue
        return trials

    def _lines(self) -> list[dict[str, Any]]:
        lines = []
        for text in self.file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                lines.append(line)
        return lines

    def _add(self, line: Mapping[str, Any]) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            # The newline comes first, so that a line cut short by a kill does not take this one with it.
            file.write("\n" + json.dumps(line))
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def opened(file: Path) -> Iterator[Journal]:
    """Open a journal, or begin it, and keep other processes from the same search meanwhile.

    Raises:
        ClusterError: One is at it already.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(
                f"another process is at this search, its journal is {file}: wait for it, or stop it"
            ) from None
        yield Journal(file)


def file_for(storage: Path, identity: Mapping[str, Any]) -> Path:
    """Return the journal of the search that this identity describes; another search has another file."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()
    return storage / f"search-{digest[:16]}.jsonl"
