"""Ingest: source files through a mapping into ``transactions`` and ``labels``, refused rows into ``rejects``.

Tasks read, check and write parts; the driver looks for known ids and commits. Nothing is visible before the
commits, so a run that fails leaves the tables as they were, and a run that is repeated adds nothing.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import ray.data
from ray import cloudpickle

from fraud import schema
from fraud.errors import QualityError
from fraud.jobs import ingest_labels, source
from fraud.jobs.ingest_slice import NewPart, Slicer, Written
from fraud.jobs.known import Known, find_known
from fraud.mapping.apply import Faults, attribute_types, rejects
from fraud.mapping.spec import Mapping
from fraud.money import rates
from fraud.settings import IngestSettings, MoneySettings
from fraud.storage.lake import Lake, Part

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Outcome:
    """What is to be committed, and the counts of every file."""

    slicer: Slicer
    parts: list[Part]
    labels: pa.Table
    rejects: list[Part]
    files: dict[str, Counter[str]]
    reasons: Counter[str]
    known: int


def run(
    lake: Lake,
    source_path: str,
    mapping: Mapping,
    *,
    ingest: IngestSettings,
    money: MoneySettings,
    now: datetime,
) -> dict[str, Any]:
    """Bring the files of a source into the lake.

    Args:
        lake: Where to.
        source_path: A file, a folder or a pattern.
        mapping: How to read it.
        ingest: How many rows may be refused.
        money: The base currency and the rates into it.
        now: The time of the ingest, UTC.

    Returns:
        ``ingest_id``, ``files``, ``files_skipped``, ``rows``, ``transactions``, ``known``, ``late``,
        ``labels``, ``rejected``, ``rejected_by_reason``, ``versions`` of the tables and ``seconds``.

    Raises:
        SourceError: There is no such file, or it is empty or unreadable.
        SchemaError: A file lacks a column, or the lake has other columns.
        QualityError: Too many rows were refused.
    """
    started = time.monotonic()
    files, skipped = _new_files(lake, source_path, mapping)
    for path in files:
        source.check_columns(path, mapping)
    entities = _check_lake(lake, mapping)
    slicer = Slicer(lake, mapping, rates(money), uuid4().hex, now, _featurized(lake))
    logger.info("ingesting", extra={"files": len(files), "skipped": len(skipped)})
    outcome = _outcome(slicer, _written(slicer, list(files)), entities)
    rows = sum(counts["rows"] for counts in outcome.files.values())
    rejected = sum(outcome.reasons.values())
    if rows and rejected / rows > ingest.max_reject_share:
        raise QualityError(rejected, rows, ingest.max_reject_share, dict(outcome.reasons))
    versions = _commit(lake, outcome, entities, files) if files else _versions(lake)
    return {
        "ingest_id": slicer.ingest_id,
        "files": len(files),
        "files_skipped": len(skipped),
        "rows": rows,
        "transactions": sum(part.rows for part in outcome.parts),
        "known": outcome.known,
        "late": sum(counts["late"] for counts in outcome.files.values()),
        "labels": outcome.labels.num_rows,
        "rejected": rejected,
        "rejected_by_reason": dict(outcome.reasons),
        "versions": versions,
        "seconds": round(time.monotonic() - started, 3),
    }


def _new_files(lake: Lake, source_path: str, mapping: Mapping) -> tuple[dict[str, str], list[str]]:
    """The files to read with their checksums, and those that were read before under the same mapping."""
    known: set[tuple[str, str]] = set()
    if lake.exists(schema.INGESTED_FILES):
        before = lake.read(schema.INGESTED_FILES, columns=["sha256", "mapping_sha256"])
        known = set(zip(before.column(0).to_pylist(), before.column(1).to_pylist(), strict=True))
    sums = {path: source.sha256(path) for path in source.find(source_path)}
    fresh = {path: sha for path, sha in sums.items() if (sha, mapping.digest) not in known}
    return fresh, [path for path in sums if path not in fresh]


def _check_lake(lake: Lake, mapping: Mapping) -> list[str]:
    """Check that the lake takes what the mapping gives; return the entity columns of its labels."""
    if mapping.kind == "labels":
        return ingest_labels.label_entities(lake)
    if lake.exists(schema.TRANSACTIONS):
        lake.check_schema(
            schema.TRANSACTIONS, schema.transactions(mapping.entities, attribute_types(mapping))
        )
    return list(mapping.entities)


def _featurized(lake: Lake) -> pa.Array:
    """The dates that have features: a transaction of such a date that comes now was not known then."""
    days = {
        part.event_date for name in lake.tables() if name.startswith("features_") for part in lake.parts(name)
    }
    return pa.array(sorted(day for day in days if day), pa.date32())


def _written(slicer: Slicer, files: Sequence[str]) -> list[Written]:
    """Run every slice as a Ray Data task; the order is that of files and rows."""
    pieces = [piece for path in files for piece in source.slices(path)]
    if not pieces:
        return []

    def task(batch: dict[str, Any]) -> dict[str, Any]:
        place = int(batch["id"][0])
        # As bytes: Ray Data has no column type for objects and warns of each.
        return {"place": [place], "written": [cloudpickle.dumps(slicer.run(pieces[place]))]}

    results = ray.data.range(len(pieces), override_num_blocks=len(pieces)).map_batches(
        task, batch_size=1, batch_format="numpy", num_cpus=1
    )
    rows = sorted(results.take_all(), key=lambda row: row["place"])
    return [cloudpickle.loads(row["written"]) for row in rows]


def _outcome(slicer: Slicer, written: Sequence[Written], entities: Sequence[str]) -> Outcome:
    parts = [part for piece in written for part in piece.parts]
    outcome = Outcome(
        slicer,
        parts=[],
        labels=schema.labels(entities).empty_table(),
        rejects=[part for piece in written for part in piece.rejects],
        files={piece.path: Counter() for piece in written},
        reasons=sum((piece.reasons for piece in written), Counter()),
        known=0,
    )
    for piece in written:
        outcome.files[piece.path].update(
            rows=piece.rows, late=piece.late, rejected=sum(piece.reasons.values())
        )
    conflicts = _leave_out_known(outcome, parts)
    _join_labels(outcome, written, entities, conflicts)
    return outcome


def _leave_out_known(outcome: Outcome, parts: Sequence[NewPart]) -> set[str]:
    """Keep new rows only, refuse conflicts; return the ids that were refused."""
    known = {found.part.part.path: found for found in find_known(outcome.slicer.lake, parts)}
    conflicts: set[str] = set()
    for part in parts:
        found = known.get(part.part.path)
        if found is None:
            outcome.parts.append(part.part)
            outcome.files[part.path]["transactions"] += part.part.rows
            continue
        kept = found.table.filter(pa.array(~(found.known | found.conflict)))
        if kept.num_rows:
            outcome.parts += outcome.slicer.lake.write_parts(schema.TRANSACTIONS, kept)
        count = int(found.known.sum())
        outcome.known += count
        outcome.files[part.path].update(transactions=kept.num_rows, known=count)
        conflicts |= _refuse_conflicts(outcome, found)
    return conflicts


def _refuse_conflicts(outcome: Outcome, found: Known) -> set[str]:
    if not found.conflict.any():
        return set()
    faults = Faults(found.table.num_rows)
    faults.add(found.conflict, "conflict")
    refused = rejects(found.table, faults, 0)
    rows = found.part.rows[np.asarray(refused.column("row"))]
    refused = refused.set_column(0, "row", pa.array(rows))
    outcome.rejects.append(outcome.slicer.write_rejects(refused, found.part.path))
    outcome.reasons["conflict"] += refused.num_rows
    outcome.files[found.part.path]["rejected"] += refused.num_rows
    return set(found.table.filter(pa.array(found.conflict)).column("transaction_id").to_pylist())


def _join_labels(
    outcome: Outcome, written: Sequence[Written], entities: Sequence[str], conflicts: set[str]
) -> None:
    slicer = outcome.slicer
    said: list[pa.Table] = []
    for piece in written:
        for table in piece.labels:
            labels = table
            if slicer.mapping.kind == "labels":
                labels, refused = ingest_labels.join_labels(slicer.lake, table, slicer.mapping)
                if refused.num_rows:
                    outcome.rejects.append(slicer.write_rejects(refused, piece.path))
                    outcome.reasons.update(refused.column("reason").to_pylist())
                    outcome.files[piece.path]["rejected"] += refused.num_rows
            elif conflicts:
                ids = labels.column("transaction_id").to_pylist()
                labels = labels.filter(pa.array([each not in conflicts for each in ids]))
            outcome.files[piece.path]["labels"] += labels.num_rows
            said.append(labels)
    outcome.labels = ingest_labels.new_labels(slicer.lake, said, entities, slicer.ingest_id)
    if slicer.mapping.kind == "labels":
        outcome.known = sum(table.num_rows for table in said) - outcome.labels.num_rows


def _commit(
    lake: Lake, outcome: Outcome, entities: Sequence[str], files: dict[str, str]
) -> dict[str, int | None]:
    """Refused rows first, the list of files last: what is listed as ingested is in the tables."""
    mapping, stamp = outcome.slicer.mapping, {"ingest_id": outcome.slicer.ingest_id}
    if outcome.rejects:
        lake.commit(schema.REJECTS, schema.REJECTS_SCHEMA, outcome.rejects, metadata=stamp)
    if outcome.labels.num_rows or not lake.exists(schema.LABELS):
        parts = [lake.write_part(schema.LABELS, outcome.labels)] if outcome.labels.num_rows else []
        lake.commit(schema.LABELS, schema.labels(entities), parts, metadata=stamp)
    if mapping.kind == "transactions" and (outcome.parts or not lake.exists(schema.TRANSACTIONS)):
        kind = schema.transactions(mapping.entities, attribute_types(mapping))
        lake.commit(schema.TRANSACTIONS, kind, outcome.parts, metadata=stamp)
    lake.append(schema.INGESTED_FILES, _file_rows(outcome, files))
    return _versions(lake)


def _file_rows(outcome: Outcome, files: dict[str, str]) -> pa.Table:
    slicer = outcome.slicer
    rows = [
        {
            "ingest_id": slicer.ingest_id,
            "path": path,
            "bytes": source.size(path),
            "sha256": files[path],
            "mapping": slicer.mapping.name,
            "mapping_sha256": slicer.mapping.digest,
            **{name: counts[name] for name in ("rows", "transactions", "known", "labels", "rejected")},
            "ingested_at": slicer.now,
        }
        for path, counts in outcome.files.items()
    ]
    return pa.Table.from_pylist(rows, schema=schema.INGESTED_FILES_SCHEMA)


def _versions(lake: Lake) -> dict[str, int | None]:
    return {name: lake.version(name) for name in (schema.TRANSACTIONS, schema.LABELS, schema.REJECTS)}
