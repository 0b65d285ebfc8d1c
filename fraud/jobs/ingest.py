"""Ingest: source files through a mapping into ``transactions`` and ``labels``, refused rows into ``rejects``.

Tasks read, check and write parts; the driver looks for known ids and commits. Nothing is visible before the
commits, and every commit carries the id of the ingest, which follows from the files and the mapping: a run
that fails leaves the tables as they were, and one that is repeated, or taken up after a crash, adds nothing.

The endpoint brings transactions into the same table (``fraud.jobs.ship``). So they are committed onto the
version in which known ids were looked for, or the ingest is made again: no id comes in twice.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import ray.data
from ray import cloudpickle

from fraud import schema
from fraud.errors import ChangedMeanwhileError, FraudError, QualityError, SchemaError
from fraud.jobs import ingest_labels, source
from fraud.jobs.ingest_expectations import judge
from fraud.jobs.ingest_outcome import Outcome, discard, settle
from fraud.jobs.ingest_slice import Slicer, Written
from fraud.jobs.known import featurized
from fraud.jobs.mapped import check_files
from fraud.jobs.reconcile import reconcile
from fraud.jobs.source import SourceFile
from fraud.jobs.source_rows import Slice, file_format
from fraud.mapping.apply import attribute_types
from fraud.mapping.spec import Mapping
from fraud.money import rates
from fraud.settings import IngestSettings, MoneySettings
from fraud.storage.lake import Lake, Part

logger = logging.getLogger(__name__)

_TRIES: Final = 5
_TURNS: Final = 8
"""A CPU gets its slices in so many tasks: fewer cost Ray less, more leave less to wait for at the end."""


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
        ``labels``, ``rejected``, ``rejected_by_reason``, ``expectations`` (of the batch, see ``Finding``),
        ``versions`` of the tables and ``seconds``.

    Raises:
        SourceError: There is no such file, or it is unreadable, or there are no rows at all, or it was
            written to meanwhile.
        SchemaError: A file lacks a column, or the lake has other columns.
        TableNotFoundError: A file of labels comes before its transactions.
        QualityError: Too many rows were refused.
        ExpectationError: The batch is not what the mapping expects of it.
        ChangedMeanwhileError: Others write ``transactions`` all the time.
    """
    for _ in range(_TRIES):
        try:
            return _try(lake, source_path, mapping, ingest=ingest, money=money, now=now)
        except ChangedMeanwhileError:
            logger.info("transactions came meanwhile: the ingest begins again")
    raise ChangedMeanwhileError(schema.TRANSACTIONS)


def _try(
    lake: Lake,
    source_path: str,
    mapping: Mapping,
    *,
    ingest: IngestSettings,
    money: MoneySettings,
    now: datetime,
) -> dict[str, Any]:
    started = time.monotonic()
    found = [source.describe(path) for path in source.find(source_path)]
    files = _not_yet_ingested(lake, found, mapping)
    exchange = rates(money)
    check_files([file.path for file in files], mapping, exchange, now, source_path)
    entities = _check_lake(lake, mapping)
    slicer = Slicer(lake, mapping, exchange, _ingest_id(files, mapping), now, featurized(lake))
    logger.info("ingesting", extra={"files": len(files), "skipped": len(found) - len(files)})
    version = lake.version(schema.TRANSACTIONS)
    written = _written(slicer, files)
    outcome = settle(slicer, written, [file.path for file in files], entities)
    try:
        _check_quality(outcome, ingest)
        _reconcile(outcome)
        findings = judge(outcome, written, version)
        source.check_unchanged(files)
    except FraudError:
        discard(lake, outcome)
        raise
    if files:
        _commit(outcome, version, entities, files)
    return {
        "ingest_id": slicer.ingest_id,
        "files": len(files),
        "files_skipped": len(found) - len(files),
        "rows": outcome.rows,
        "transactions": sum(part.rows for part in outcome.parts),
        "known": outcome.known,
        "late": outcome.late,
        "labels": outcome.labels.num_rows,
        "rejected": outcome.rejected,
        "rejected_by_reason": dict(sorted(outcome.reasons.items())),
        "expectations": [finding.report() for finding in findings],
        "versions": {
            name: lake.version(name) for name in (schema.TRANSACTIONS, schema.LABELS, schema.REJECTS)
        },
        "seconds": round(time.monotonic() - started, 3),
    }


def _check_quality(outcome: Outcome, ingest: IngestSettings) -> None:
    if outcome.rejected > ingest.max_reject_share * outcome.rows:
        raise QualityError(outcome.rejected, outcome.rows, ingest.max_reject_share, dict(outcome.reasons))


def _reconcile(outcome: Outcome) -> None:
    """Check that every row of transactions that was read is new, known or refused."""
    became = {
        "new": sum(part.rows for part in outcome.parts),
        "known": outcome.known,
        "rejected": outcome.rejected,
    }
    if outcome.slicer.mapping.kind == "transactions":  # a row of a file of labels may say nothing
        reconcile("ingest", outcome.rows, became)


def _not_yet_ingested(lake: Lake, files: Sequence[SourceFile], mapping: Mapping) -> list[SourceFile]:
    """Leave out the files that were read before under the same mapping."""
    known: set[tuple[str, str]] = set()
    if lake.exists(schema.INGESTED_FILES):
        before = lake.read(schema.INGESTED_FILES, columns=["sha256", "mapping_sha256"])
        known = set(zip(before.column(0).to_pylist(), before.column(1).to_pylist(), strict=True))
    return [file for file in files if (file.sha256, mapping.digest) not in known]


def _ingest_id(files: Sequence[SourceFile], mapping: Mapping) -> str:
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


def _written(slicer: Slicer, files: Sequence[SourceFile]) -> list[Written]:
    """Run every slice as a Ray Data task; the order is that of files and rows."""
    pieces: list[Slice] = [piece for file in files for piece in source.slices(file.path)]
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
    written: list[Written] = [cloudpickle.loads(row["written"]) for row in rows]
    _check_columns_seen(written, slicer.mapping)
    return written


def _check_columns_seen(written: Sequence[Written], mapping: Mapping) -> None:
    """A column that no line of all JSON files has is misspelt in the mapping."""
    lines = [piece for piece in written if file_format(piece.path) == "jsonl"]
    if lines:
        seen = sorted(set().union(*(piece.columns for piece in lines)))
        problems = source.missing_columns(source.read_columns(mapping), seen, mapping)
        if problems:
            raise SchemaError(lines[0].path, problems)


def _commit(
    outcome: Outcome, version: int | None, entities: Sequence[str], files: Sequence[SourceFile]
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
