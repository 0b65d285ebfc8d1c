"""Where the service's files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Where the service's files are, as absolute paths on every node that has replicas.

    Attributes:
        pointer: The file that names the model to serve; bundles lie in the folder ``bundles`` beside it.
        state: The folder of the online state.
        journal: The folder of the decision journal.
    """

    pointer: Path
    state: Path
    journal: Path

    @property
    def bundles(self) -> Path:
        """Verified bundles by digest."""
        return self.pointer.parent / "bundles"
