"""A source by its name: files, a Delta table or a database, opened for one ingest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import SecretStr

from fraud.address import SCHEMES
from fraud.jobs.source_database import opened_span
from fraud.jobs.source_files import find_files
from fraud.jobs.source_type import Source
from fraud.mapping.spec import Mapping


@dataclass(frozen=True, slots=True)
class SourceName:
    """What the user calls it.

    Attributes:
        path: A file, a folder, a pattern, a Delta table, or the URI of a database.
        versions: Of a Delta table: first and last, None where that end is open.
        password: Of a database.
    """

    path: str
    versions: tuple[int | None, int | None] | None = None
    password: SecretStr = field(default=SecretStr(""))

    @property
    def is_database(self) -> bool:
        """Whether it is a database, not files."""
        return self.path.startswith(SCHEMES)


@contextmanager
def opened(
    name: SourceName, mapping: Mapping, *, before: Sequence[str] = (), pending: Sequence[str] = ()
) -> Iterator[Sequence[Source]]:
    """Open a source.

    Args:
        name: Which.
        mapping: How it is to be read.
        before: Paths that were ingested under this mapping, oldest first.
        pending: Paths whose ingest was cut short.

    Raises:
        ConfigError: A database's URI cannot be used.
        SourceError: There is nothing there, or it cannot be read.
    """
    if name.is_database:
        with opened_span(name.path, name.password.get_secret_value(), mapping, before, pending) as spans:
            yield spans
    else:
        yield find_files(name.path, name.versions)
