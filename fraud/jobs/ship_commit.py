"""One table's commit of some journal records: what it lacks, once, with how far it came."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from fraud import schema
from fraud.errors import ChangedMeanwhileError
from fraud.jobs import ship_tables
from fraud.jobs.ship_records import Entry
from fraud.jobs.ship_segments import Haul, app
from fraud.jobs.ship_tables import New
from fraud.storage.lake import Lake, Part

_TRIES: Final = 10
"""An ingest may commit between the look and the commit, but not all the time."""

Find = Callable[[list[Entry]], New]
Passed = Callable[[str], None]


@dataclass(frozen=True)
class Committer:
    """Commits records of one haul.

    Attributes:
        lake: Where to.
        haul: The records, and how far they reach.
        passed: Called with the name of each step when it is done.
    """

    lake: Lake
    haul: Haul
    passed: Passed

    def commit(self, name: str, entries: Sequence[Entry], find: Find, *, always: bool = False) -> New:
        """Commit to a table what it lacks, and to ``rejects`` what contradicts it.

        Args:
            name: The table, which exists.
            entries: The records that are for it.
            find: Looks up in the table what is new of the entries it has not yet come to.
            always: Commit how far the haul reaches also where there is nothing new.

        Raises:
            ChangedMeanwhileError: Others commit to it all the time.
            NotWrittenError: The disk is full or fails.
        """
        return self._commit(name, entries, find, {each: app(each) for each in self.haul.reached}, always)

    def _commit(
        self, name: str, entries: Sequence[Entry], find: Find, apps: Mapping[str, str], always: bool
    ) -> New:
        for _ in range(_TRIES):
            version, had = self.lake.committed(name, apps.values())
            new = find([entry for entry in entries if entry.offset > had.get(apps.get(entry.segment, ""), 0)])
            if new.refused:
                self._refuse(name, new.refused)
            if not new.rows.num_rows and not always:
                return new
            parts = self._written(name, new.rows)
            self.passed(f"{name} written")
            try:
                reached = {apps[segment]: offset for segment, offset in self.haul.reached.items()}
                self.lake.commit_onto(name, version, parts, apps=reached)
            except ChangedMeanwhileError:
                continue
            self.passed(f"{name} committed")
            return new
        raise ChangedMeanwhileError(name)

    def _refuse(self, name: str, refused: Sequence[tuple[Entry, str]]) -> None:
        """Note what contradicts a table, before that table may say that it has come past it."""
        apps = {each: f"{app(each)}:{name}" for each in self.haul.reached}
        self.lake.ensure(schema.REJECTS, schema.REJECTS_SCHEMA)

        def find(left: list[Entry]) -> New:
            kept = set(map(id, left))
            return ship_tables.rejects([each for each in refused if id(each[0]) in kept])

        self._commit(schema.REJECTS, [entry for entry, _ in refused], find, apps, always=False)

    def _written(self, name: str, rows: pa.Table) -> list[Part]:
        if schema.PARTITION in rows.column_names:
            return self.lake.write_parts(name, rows)
        return [self.lake.write_part(name, rows)] if rows.num_rows else []
