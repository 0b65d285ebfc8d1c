"""Ingest: source files through a mapping into ``transactions`` and ``labels``, refused rows into ``rejects``.

Tasks read, check and write parts; the driver looks for known ids and commits. Nothing is visible before the
commits, and every commit carries the id of the ingest, which follows from the files and the mapping: a run
that fails leaves the tables as they were, and one that is repeated, or taken up after a crash, adds nothing
(``fraud.jobs.ledger``).

The endpoint brings transactions into the same table (``fraud.jobs.ship``). So they are committed onto the
version in which known ids were looked for, or the ingest is made again: no id comes in twice.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import ray.data
from ray import cloudpickle

from fraud import schema
from fraud.errors import ChangedMeanwhileError, FraudError, QualityError, SchemaError
from fraud.jobs import ingest_labels
from fraud.jobs.ingest_expectations import Finding, judge
from fraud.jobs.ingest_outcome import Outcome, discard, settle
from fraud.jobs.ingest_slice import Slicer, Written
from fraud.jobs.known import featurized
from fraud.jobs.ledger import begin, read_ledger
from fraud.jobs.mapped import check_sources
from fraud.jobs.reconcile import reconcile
from fraud.jobs.source import SourceName, opened
from fraud.jobs.source_columns import missing_columns, read_columns
from fraud.jobs.source_rows import Slice
from fraud.jobs.source_type import Described, Source
from fraud.mapping.apply import attribute_types
from fraud.mapping.spec import Mapping
from fraud.money import rates
from fraud.settings import IngestSettings, MoneySettings
from fraud.storage.lake import Lake, Part

logger = logging.getLogger(__name__)

_TRIES: Final = 5
_TURNS: Final = 8
"""A CPU gets its slices in so many tasks: fewer cost Ray less, more leave less to wait for at the end."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be ingested, from where, and how."""

    lake: Lake
    source: SourceName
    mapping: Mapping
    ingest: IngestSettings
    money: MoneySettings
    now: datetime


def run(
    lake: Lake,
    source: SourceName,
    mapping: Mapping,
    *,
    ingest: IngestSettings,
    money: MoneySettings,
    now: datetime,
) -> dict[str, Any]:
    """Bring what a source has that is new into the lake; first what an ingest that was cut short left undone.

    Args:
        lake: Where to.
        source: Files, a Delta table or a database.
        mapping: How to read it.
        ingest: How many rows may be refused.
        money: The base currency and the rates into it.
        now: The time of the ingest, UTC.

    Returns:
        ``ingest_id``, ``completed`` (ids of ingests that were cut short), ``files``, ``files_skipped``,
        ``rows``, ``transactions``, ``known``, ``late``, ``labels``, ``rejected``, ``rejected_by_reason``,
        ``expectations`` (of the batch, see ``Finding``), ``versions`` of the tables and ``seconds``.
        Where nothing is new but what was completed, the numbers are those of the last such ingest.

    Raises:
        ConfigError: A database's URI cannot be used.
        SourceError: There is no such file, or it is unreadable, or there are no rows at all, or it was
            written to meanwhile, or the database went away.
        SchemaError: A file lacks a column, or the lake has other columns.
        TableNotFoundError: A file of labels comes before its transactions.
        QualityError: Too many rows were refused.
        ExpectationError: The batch is not what the mapping expects of it.
        ChangedMeanwhileError: Others write ``transactions`` all the time.
    """
    asked = _Asked(lake, source, mapping, ingest, money, now)
    completed: list[dict[str, Any]] = []
    while True:
        report, completes = _persistently(asked)
        if not completes:
            break
        logger.info("completed an ingest that was cut short", extra={"ingest_id": report["ingest_id"]})
        completed.append(report)
    if completed and not report["files"]:
        report = completed[-1]
    return {**report, "completed": [each["ingest_id"] for each in completed]}


def _persistently(asked: _Asked) -> tuple[dict[str, Any], bool]:
    for _ in range(_TRIES):
        try:
            return _try(asked)
        except ChangedMeanwhileError:
            logger.info("transactions came meanwhile: the ingest begins again")
    raise ChangedMeanwhileError(schema.TRANSACTIONS)


def _try(asked: _Asked) -> tuple[dict[str, Any], bool]:
    """Ingest the next batch; return its report, and whether it was one that had been cut short."""
    started = time.monotonic()
    ledger = read_ledger(asked.lake, asked.mapping)
    with opened(asked.source, asked.mapping, before=ledger.paths, pending=ledger.pending) as sources:
        found = [source.describe() for source in sources]
        files, completes = ledger.next_batch(found)
        outcome, findings = _ingest(asked, files)
    return {
        "ingest_id": outcome.slicer.ingest_id,
        "files": len(files),
        "files_skipped": sum(file.sha256 in ledger.done for file in found),
        "rows": outcome.rows,
        "transactions": outcome.transactions,
        "known": outcome.known,
        "late": outcome.late,
        "labels": outcome.labels.num_rows,
        "rejected": outcome.rejected,
        "rejected_by_reason": dict(sorted(outcome.reasons.items())),
        "expectations": [finding.report() for finding in findings],
        "versions": {
            name: asked.lake.version(name) for name in (schema.TRANSACTIONS, schema.LABELS, schema.REJECTS)
        },
        "seconds": round(time.monotonic() - started, 3),
    }, completes


def _ingest(asked: _Asked, files: Sequence[Described]) -> tuple[Outcome, list[Finding]]:
    """Read, check and commit a batch."""
    lake, mapping, now = asked.lake, asked.mapping, asked.now
    exchange = rates(asked.money)
    sources = [file.source for file in files]
    check_sources(sources, mapping, exchange, now, asked.source.path)
    entities = _check_lake(lake, mapping)
    slicer = Slicer(lake, mapping, exchange, _ingest_id(files, mapping), now, featurized(lake))
    version = lake.version(schema.TRANSACTIONS)
    pieces = [piece for source in sources for piece in source.slices()]
    logger.info("ingesting", extra={"files": len(files), "slices": len(pieces)})
    written = _written(slicer, pieces)
    _check_columns_seen(sources, written, mapping)
    outcome = settle(slicer, written, [file.path for file in files], pieces, entities)
    try:
        _check_quality(outcome, asked.ingest)
        _reconcile(outcome)
        findings = judge(outcome, written, version)
        for file in files:
            file.source.check_unchanged(file)
    except FraudError:
        discard(lake, outcome)
        raise
    if files:
        begin(lake, slicer.ingest_id, files, mapping, now)
        _commit(outcome, version, entities, files)
    return outcome, findings


def _check_quality(outcome: Outcome, ingest: IngestSettings) -> None:
    if outcome.rejected > ingest.max_reject_share * outcome.rows:
        raise QualityError(outcome.rejected, outcome.rows, ingest.max_reject_share, dict(outcome.reasons))


def _reconcile(outcome: Outcome) -> None:
    """Check that every row of transactions that was read is new, known or refused."""
    became = {
        "new": outcome.transactions,
        "known": outcome.known,
        "rejected": outcome.rejected,
    }
    if outcome.slicer.mapping.kind == "transactions":  # a row of a file of labels may say nothing
        reconcile("ingest", outcome.rows, became)


def _ingest_id(files: Sequence[Described], mapping: Mapping) -> str:
    """The same files under the same mapping are the same ingest, whenever and wherever it runs."""
    said = [mapping.digest, *(file.sha256 for file in files)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]


def _check_lake(lake: Lake, mapping: Mapping) -> list[str]:
    """Check that the lake takes what the mapping gives; return the entity columns of its labels."""
    if mapping.kind == "labels":
        return ingest_labels.label_entities(lake)
    if lake.exists(schema.TRANSACTIONS):
        lake.check_schema(
            schema.TRANSACTIONS, schema.transactions(mapping.entities, attribute_types(mapping))
        )
    return list(mapping.entities)


def _written(slicer: Slicer, pieces: Sequence[Slice]) -> list[Written]:
    """Run every slice as a Ray Data task; the order is that of files and rows."""
    if not pieces:
        return []
    # A fault that only shows in later rows must reach the caller as what it is, not wrapped by Ray.
    ray.data.DataContext.get_current().raise_original_map_exception = True

    def ingest_slices(batch: dict[str, Any]) -> dict[str, Any]:
        places = batch["id"].tolist()
        # As bytes: Ray Data has no column type for objects and warns of each.
        return {
            "place": places,
            "written": [cloudpickle.dumps(slicer.run(pieces[place])) for place in places],
        }

    tasks = min(len(pieces), _TURNS * max(1, int(ray.cluster_resources()["CPU"])))
    results = ray.data.range(len(pieces), override_num_blocks=tasks).map_batches(
        ingest_slices, batch_size=None, batch_format="numpy", num_cpus=1
    )
    rows = sorted(results.take_all(), key=lambda row: row["place"])
    return [cloudpickle.loads(row["written"]) for row in rows]


def _check_columns_seen(sources: Sequence[Source], written: Sequence[Written], mapping: Mapping) -> None:
    """A column that no line of all JSON files has is misspelt in the mapping."""
    sparse = [source.path for source in sources if source.sparse]
    if sparse:
        seen = sorted(set().union(*(piece.columns for piece in written if piece.path in sparse)))
        problems = missing_columns(read_columns(mapping), seen, mapping)
        if problems:
            raise SchemaError(sparse[0], problems)


def _commit(
    outcome: Outcome, version: int | None, entities: Sequence[str], files: Sequence[Described]
) -> None:
    """Transactions first, where nothing is lost by beginning again; the list of files last."""
    lake, mapping = outcome.slicer.lake, outcome.slicer.mapping
    if mapping.kind == "transactions":
        _commit_transactions(outcome, version)
    _commit_once(outcome, schema.REJECTS, schema.REJECTS_SCHEMA, outcome.rejects)
    labels = [lake.write_part(schema.LABELS, outcome.labels)] if outcome.labels.num_rows else []
    _commit_once(outcome, schema.LABELS, schema.labels(entities), labels, create=True)
    rows = outcome.file_rows(files)
    listed = [lake.write_part(schema.INGESTED_FILES, rows)]
    _commit_once(outcome, schema.INGESTED_FILES, schema.INGESTED_FILES_SCHEMA, listed)


def _commit_transactions(outcome: Outcome, version: int | None) -> None:
    """Commit onto the version in which known ids were looked for; into a new table where there was none.

    Raises:
        ChangedMeanwhileError: There is a newer version; nothing was committed.
    """
    lake, mapping = outcome.slicer.lake, outcome.slicer.mapping
    app, ingest_id = _app(outcome), outcome.slicer.ingest_id
    if version is None:
        kind = schema.transactions(mapping.entities, attribute_types(mapping))
        _commit_once(outcome, schema.TRANSACTIONS, kind, outcome.parts, create=True)
    elif outcome.parts and lake.app_version(schema.TRANSACTIONS, app) is None:
        try:
            lake.commit_onto(
                schema.TRANSACTIONS, version, outcome.parts, apps={app: 1}, metadata={"ingest_id": ingest_id}
            )
        except ChangedMeanwhileError:
            discard(lake, outcome)
            raise


def _commit_once(
    outcome: Outcome, name: str, kind: pa.Schema, parts: Sequence[Part], *, create: bool = False
) -> None:
    """Commit, unless a run of this ingest that was cut short has done so before."""
    lake, app = outcome.slicer.lake, _app(outcome)
    if not (parts or (create and not lake.exists(name))) or lake.app_version(name, app) is not None:
        return
    lake.commit(name, kind, parts, apps={app: 1}, metadata={"ingest_id": outcome.slicer.ingest_id})


def _app(outcome: Outcome) -> str:
    return f"ingest-{outcome.slicer.ingest_id}"
