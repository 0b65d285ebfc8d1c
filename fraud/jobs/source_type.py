"""What any source is to an ingest: something with a name, a content that can be told apart, and slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from fraud.jobs.source_rows import Slice
from fraud.mapping.spec import FileFormat


class Source(Protocol):
    """A file, or a span of a table."""

    @property
    def path(self) -> str:
        """What it is called in tables and errors."""

    @property
    def sparse(self) -> bool:
        """Whether a row may leave columns out."""

    def describe(self) -> Described:
        """Return what tells its content from any other."""

    def check_unchanged(self, before: Described) -> None:
        """Check that it is what it was."""

    def head(self, file: FileFormat, n: int) -> tuple[list[str], pa.Table | None]:
        """Return its column names and first rows; no rows at all where it is empty."""

    def slices(self) -> Sequence[Slice]:
        """Cut it into parts for tasks."""


@dataclass(frozen=True, slots=True)
class Described:
    """A source and its content: checksum, size (bytes, or rows of a table), time of the last write in ns."""

    source: Source
    sha256: str
    size: int
    modified_ns: int = 0

    @property
    def path(self) -> str:
        """What it is called in tables and errors."""
        return self.source.path
