"""Where everything lies in a work directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Work:
    """A work directory; every path is absolute. The lake and MLflow have settings of their own.

    Attributes:
        folder: The directory itself.
    """

    folder: Path

    @property
    def runs(self) -> Path:
        """What Ray Train and Tune keep of a run while it lasts: checkpoints, trials."""
        return self.folder / "runs"

    @property
    def state(self) -> Path:
        """The online state of this node, followed by the service."""
        return self.folder / "state"

    @property
    def journal(self) -> Path:
        """What the service has answered."""
        return self.folder / "journal"

    @property
    def models(self) -> Path:
        """Verified copies of model bundles, and the pointer to those being served."""
        return self.folder / "models"

    @property
    def pointer(self) -> Path:
        """Names the models being served, see ``serve_app.served``."""
        return self.models / "serving.json"

    @property
    def reports(self) -> Path:
        """What the monitor wrote for people."""
        return self.folder / "reports"
