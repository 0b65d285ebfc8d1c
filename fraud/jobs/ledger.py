"""The ledger of ingests: what was begun (``ingest_batches``), and what is done (``ingested_files``).

One ingest is a commit to each of several tables. Before the first of them a batch is begun, and the ledger is
the last: a batch that is begun and not done was cut short between its commits, and is completed before
anything else of its source is read, under the same id, so that no table gets its rows twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fraud import schema
from fraud.errors import ChangedMeanwhileError
from fraud.jobs.source_type import Described
from fraud.mapping.spec import Mapping
from fraud.storage.lake import Lake

_TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a lake knows of a mapping's ingests.

    Attributes:
        done: Checksums of what was ingested.
        paths: Of what was ingested, oldest first.
        cut_short: Of each batch that is begun and not done: path by checksum.
    """

    done: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    cut_short: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def pending(self) -> list[str]:
        """Paths of the batches that were cut short."""
        return [path for batch in self.cut_short.values() for path in batch.values()]

    def next_batch(self, found: Sequence[Described]) -> tuple[list[Described], bool]:
        """Return what is to be ingested next, and whether that completes a batch that was cut short.

        A batch some of whose files are gone or changed cannot be completed: what of it is in the lake stays,
        and its other files are ingested as if they were new.
        """
        new = [each for each in found if each.sha256 not in self.done]
        for batch in self.cut_short.values():
            of_batch = [each for each in new if each.sha256 in batch]
            if {each.sha256 for each in of_batch} == batch.keys():
                return of_batch, True
        return new, False


def read_ledger(lake: Lake, mapping: Mapping) -> Ledger:
    """Return what the lake knows of this mapping's ingests."""
    done = _rows(lake, schema.INGESTED_FILES, mapping, ["ingest_id", "path", "sha256"])
    begun = _rows(lake, schema.INGEST_BATCHES, mapping, ["batch", "ingest_id", "path", "sha256"])
    finished = {row["ingest_id"] for row in done}
    cut_short: dict[str, dict[str, str]] = {}
    for row in sorted(begun, key=lambda row: row["batch"]):
        if row["ingest_id"] not in finished:
            cut_short.setdefault(row["ingest_id"], {})[row["sha256"]] = row["path"]
    batch = {row["ingest_id"]: row["batch"] for row in begun}
    paths = [row["path"] for row in sorted(done, key=lambda row: batch.get(row["ingest_id"], 0))]
    return Ledger(frozenset(row["sha256"] for row in done), tuple(paths), cut_short)


def begin(lake: Lake, ingest_id: str, files: Sequence[Described], mapping: Mapping, now: datetime) -> None:
    """Begin a batch, unless a run that was cut short has begun it before.

    Raises:
        ChangedMeanwhileError: Others begin batches all the time.
    """
    lake.ensure(schema.INGEST_BATCHES, schema.INGEST_BATCHES_SCHEMA)
    for _ in range(_TRIES):
        with suppress(ChangedMeanwhileError):
            _begin(lake, ingest_id, files, mapping, now)
            return
    raise ChangedMeanwhileError(schema.INGEST_BATCHES)


def _begin(lake: Lake, ingest_id: str, files: Sequence[Described], mapping: Mapping, now: datetime) -> None:
    name, app = schema.INGEST_BATCHES, f"begin-{ingest_id}"
    version, begun = lake.committed(name, [app])
    if begun:
        return
    batches = lake.read(name, version=version, columns=["batch"]).column("batch").to_pylist()
    rows = [
        {
            "batch": max(batches, default=0) + 1,
            "ingest_id": ingest_id,
            "path": file.path,
            "sha256": file.sha256,
            "mapping_sha256": mapping.digest,
            "begun_at": now,
        }
        for file in files
    ]
    part = lake.write_part(name, pa.Table.from_pylist(rows, schema=schema.INGEST_BATCHES_SCHEMA))
    try:
        lake.commit_onto(name, version, [part], apps={app: 1})
    except ChangedMeanwhileError:
        lake.discard(name, [part])
        raise


def _rows(lake: Lake, name: str, mapping: Mapping, columns: list[str]) -> list[dict[str, Any]]:
    if not lake.exists(name):
        return []
    table = lake.read(name, columns=[*columns, "mapping_sha256"])
    rows: list[dict[str, Any]] = table.filter(pc.field("mapping_sha256") == mapping.digest).to_pylist()
    return rows
