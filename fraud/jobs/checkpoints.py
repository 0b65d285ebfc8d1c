"""What a training has reached, kept in a folder: one file per booster, replaced as it grows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checkpoints:
    """The boosters of one run, in the order they are trained; all but the last are finished.

    Attributes:
        folder: Absolute, seen by the driver and by every node that may hold the first rank; made when needed.
    """

    folder: Path

    def save(self, index: int, booster: bytes) -> None:
        """Keep a booster's JSON; a reader sees the old file or the new one, never a part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / f"{index:04}.unfinished"
        unfinished.write_bytes(booster)
        unfinished.replace(self.folder / f"{index:04}.json")

    def load(self) -> list[bytes]:
        """Return the boosters kept so far; none where nothing was kept."""
        return [file.read_bytes() for file in sorted(self.folder.glob("*.json"))]
