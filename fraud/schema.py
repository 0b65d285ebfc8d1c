"""The tables of the lake: columns, types, units.

Times are UTC microseconds, money is integer minor units, an id is a string token (never a card number).
``transactions``, ``labels`` and ``features_*`` carry columns of their own per mapping or feature set;
the functions here add them to the core.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import pyarrow as pa
import xxhash

FORMAT_VERSION: Final = 1
"""Of every table; stored in the table's configuration and checked on reading."""

TIME: Final = pa.timestamp("us", tz="UTC")

KINDS: Final = ("purchase", "verification", "refund", "reversal")
SCORED_KINDS: Final = ("purchase", "verification")
"""Only these are scored, trained on and measured; the others may enter windows."""

DECLINED: Final = "declined"
REVERSED: Final = "reversed"
"""The statuses that hide whether a transaction was fraud; others mean nothing to the truth."""

TRANSACTIONS: Final = "transactions"
LABELS: Final = "labels"
REJECTS: Final = "rejects"
INGEST_BATCHES: Final = "ingest_batches"
INGESTED_FILES: Final = "ingested_files"
SCORES: Final = "scores"
DECISIONS: Final = "decisions"
READINGS: Final = "readings"
PROMOTIONS: Final = "promotions"
FEATURE_PROOFS: Final = "feature_proofs"
ALERTS: Final = "alerts"
RUNS: Final = "runs"
SCHEDULE_RUNS: Final = "schedule_runs"
MONITOR_PERFORMANCE: Final = "monitor_performance"
MONITOR_DRIFT: Final = "monitor_drift"

SHADOW: Final = "shadow"
"""The ``run_kind`` of what a challenger would have said; its rows have no reasons."""

ENDPOINT: Final = "journal:"
"""What the ``ingest_id`` of a row from the endpoint begins with; the journal segment's name follows."""

PARTITION: Final = "event_date"
"""Tables of transactions are partitioned by the UTC date of the event."""

_CORE_FIELDS: Final = (
    pa.field("transaction_id", pa.string(), nullable=False),
    pa.field("event_time", TIME, nullable=False),
    pa.field("known_at", TIME, nullable=False),
    pa.field("kind", pa.string(), nullable=False),
    pa.field("status", pa.string()),
    pa.field("status_time", TIME),
    pa.field("amount_minor", pa.int64(), nullable=False),
    pa.field("currency", pa.string(), nullable=False),
    pa.field("amount_base_minor", pa.int64(), nullable=False),
    pa.field("tie", pa.int64(), nullable=False),
)
CORE_COLUMNS: Final = tuple(field.name for field in _CORE_FIELDS)


def tie(transaction_id: str) -> int:
    """Return the signed xxh3_64 of an id: it orders transactions of the same instant, everywhere alike."""
    unsigned = xxhash.xxh3_64_intdigest(transaction_id.encode())
    return unsigned - 2**64 if unsigned >= 2**63 else unsigned


def transactions(entities: Iterable[str], attributes: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return the schema of ``transactions`` for these entity columns and attributes.

    Attributes are ``float64`` or ``string``. ``tie`` is the signed xxh3_64 of ``transaction_id``; it orders
    transactions of the same instant. ``event_date`` is the partition.
    """
    return pa.schema(
        [
            *_CORE_FIELDS,
            *(pa.field(entity, pa.string()) for entity in entities),
            *(pa.field(name, kind) for name, kind in attributes.items()),
            pa.field("ingest_id", pa.string(), nullable=False),
            pa.field(PARTITION, pa.date32(), nullable=False),
        ]
    )


def labels(entities: Iterable[str]) -> pa.Schema:
    """Return the schema of ``labels``: append only, the greatest (label_time, source) known by t holds at t.

    ``event_time`` and the entity ids are those of the labelled transaction, so that windows over frauds
    need no join.
    """
    return pa.schema(
        [
            pa.field("transaction_id", pa.string(), nullable=False),
            pa.field("event_time", TIME, nullable=False),
            pa.field("label_time", TIME, nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("is_fraud", pa.bool_(), nullable=False),
            pa.field("fraud_type", pa.string()),
            *(pa.field(entity, pa.string()) for entity in entities),
            pa.field("ingest_id", pa.string(), nullable=False),
        ]
    )


def features(names: Iterable[str]) -> pa.Schema:
    """Return the schema of a ``features_<hash8>`` table: one float64 column per feature.

    ``history_complete`` is false where the lake's history begins later than a window of the row reaches back.
    """
    return pa.schema(
        [
            pa.field("transaction_id", pa.string(), nullable=False),
            pa.field("event_time", TIME, nullable=False),
            pa.field("history_complete", pa.bool_(), nullable=False),
            *(pa.field(name, pa.float64()) for name in names),
            pa.field(PARTITION, pa.date32(), nullable=False),
        ]
    )


REJECTS_SCHEMA: Final = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("raw", pa.string(), nullable=False),
        pa.field("ingest_id", pa.string(), nullable=False),
        pa.field("rejected_at", TIME, nullable=False),
    ]
)
"""``raw`` is the row as JSON with digit runs of 13 and more masked; ``row`` counts from 0 in ``source``."""

INGEST_BATCHES_SCHEMA: Final = pa.schema(
    [
        pa.field("batch", pa.int64(), nullable=False),
        pa.field("ingest_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("mapping_sha256", pa.string(), nullable=False),
        pa.field("begun_at", TIME, nullable=False),
    ]
)
"""A row per file of an ingest that was about to commit; ``ingested_files`` says that it did."""

INGESTED_FILES_SCHEMA: Final = pa.schema(
    [
        pa.field("ingest_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("mapping", pa.string(), nullable=False),
        pa.field("mapping_sha256", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("transactions", pa.int64(), nullable=False),
        pa.field("known", pa.int64(), nullable=False),
        pa.field("labels", pa.int64(), nullable=False),
        pa.field("rejected", pa.int64(), nullable=False),
        pa.field("ingested_at", TIME, nullable=False),
    ]
)

SCORES_SCHEMA: Final = pa.schema(
    [
        pa.field("transaction_id", pa.string(), nullable=False),
        pa.field("event_time", TIME, nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("run_kind", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("model_digest", pa.string(), nullable=False),
        pa.field("policy_version", pa.string(), nullable=False),
        pa.field("features_version", pa.string(), nullable=False),
        pa.field("scored_at", TIME, nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field(PARTITION, pa.date32(), nullable=False),
    ]
)
"""``run_kind`` is live, backfill, rescore or shadow; only live rows are performance."""

DECISIONS_SCHEMA: Final = pa.schema(
    [
        pa.field("transaction_id", pa.string(), nullable=False),
        pa.field("event_time", TIME, nullable=False),
        pa.field("decided_at", TIME, nullable=False),
        pa.field("request", pa.string(), nullable=False),
        pa.field("amount_base_minor", pa.int64(), nullable=False),
        pa.field("features", pa.list_(pa.float64())),
        pa.field("score", pa.float64()),
        pa.field("probability", pa.float64()),
        pa.field("decision", pa.string(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("policy", pa.string(), nullable=False),
        pa.field("policy_version", pa.string(), nullable=False),
        pa.field("policy_digest", pa.string(), nullable=False),
        pa.field("model_name", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("model_digest", pa.string(), nullable=False),
        pa.field("features_version", pa.string(), nullable=False),
        pa.field("code_version", pa.string(), nullable=False),
        pa.field("caller", pa.string(), nullable=False),
        pa.field("degraded", pa.string()),
        pa.field("latency_us", pa.int64(), nullable=False),
        pa.field("shipped_at", TIME, nullable=False),
        pa.field(PARTITION, pa.date32(), nullable=False),
    ]
)
"""One row a transaction the endpoint answered, with everything to execute the decision again.

``request`` (canonical), ``answer`` (as it left) and ``policy`` are JSON. ``features`` are in the order of the
model's features, null where missing; the list is null where there was no score, and ``degraded`` says why.
``reasons`` are codes, ``caller`` is the id of an API key."""

READINGS_SCHEMA: Final = pa.schema(
    [
        pa.field("ordinal", pa.int64(), nullable=False),
        pa.field("headline", pa.bool_(), nullable=False),
        pa.field("read_at", TIME, nullable=False),
        pa.field("protocol", pa.string(), nullable=False),
        pa.field("feature_set", pa.string(), nullable=False),
        pa.field("features_version", pa.string(), nullable=False),
        pa.field("configuration_digest", pa.string(), nullable=False),
        pa.field("configuration", pa.string(), nullable=False),
        pa.field("code_version", pa.string(), nullable=False),
        pa.field("figures", pa.string(), nullable=False),
    ]
)
"""One row a reading of test weeks, numbered from 1; ``configuration`` and ``figures`` are JSON."""

PROMOTIONS_SCHEMA: Final = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("at", TIME, nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("alias", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("from", pa.string()),
        pa.field("to", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("how", pa.string(), nullable=False),
        pa.field("actor", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("report", pa.string()),
    ]
)
"""One row a change, numbered from 1 per model without a gap. ``alias`` is what was moved ``from`` a version
``to`` another, or ``policy``, whose digests these are then. ``report`` is the gate's, an artifact's path."""

FEATURE_PROOFS_SCHEMA: Final = pa.schema(
    [
        pa.field("features_version", pa.string(), nullable=False),
        pa.field("features_table_version", pa.int64(), nullable=False),
        pa.field("code_version", pa.string(), nullable=False),
        pa.field("first_day", pa.date32(), nullable=False),
        pa.field("last_day", pa.date32(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("proved_at", TIME, nullable=False),
    ]
)
"""One row a verification that found no difference: parity with replay, no look-ahead, the definition."""

ALERTS_SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("at", TIME, nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("severity", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("actor", pa.string(), nullable=False),
        pa.field("run_id", pa.string()),
    ]
)
"""One row a cause; ``id`` is the same for the same kind, subject and occasion."""

RUNS_SCHEMA: Final = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("job", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("started_at", TIME, nullable=False),
        pa.field("ended_at", TIME, nullable=False),
        pa.field("rows_in", pa.int64()),
        pa.field("rows_out", pa.int64()),
        pa.field("rows_known", pa.int64()),
        pa.field("rows_rejected", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("report", pa.string()),
    ]
)
"""One row a run of a job: ``status`` is done or failed, ``reason`` says why it failed, ``report`` is the JSON
it printed. Of transactions ingested and of scores, rows in = out + known + rejected."""

SCHEDULE_RUNS_SCHEMA: Final = pa.schema(
    [
        pa.field("schedule", pa.string(), nullable=False),
        pa.field("due", TIME, nullable=False),
        pa.field("attempt", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("submission_id", pa.string(), nullable=False),
        pa.field("at", TIME, nullable=False),
    ]
)
"""One row a change of a tick: submitted, succeeded, failed, stopped, replaced or skipped."""

MONITOR_PERFORMANCE_SCHEMA: Final = pa.schema(
    [
        pa.field("as_of", TIME, nullable=False),
        pa.field("week", pa.date32(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("transactions", pa.int64(), nullable=False),
        pa.field("matured", pa.int64(), nullable=False),
        pa.field("unknown", pa.int64(), nullable=False),
        pa.field("unobservable", pa.int64(), nullable=False),
        pa.field("frauds", pa.int64(), nullable=False),
        pa.field("alerts", pa.int64(), nullable=False),
        pa.field("precision", pa.float64()),
        pa.field("recall", pa.float64()),
        pa.field("f1", pa.float64()),
        pa.field("average_precision", pa.float64()),
        pa.field("run_id", pa.string(), nullable=False),
    ]
)
"""One row a week (its Monday) and model, measured on the truth known at ``as_of``."""

MONITOR_DRIFT_SCHEMA: Final = pa.schema(
    [
        pa.field("as_of", TIME, nullable=False),
        pa.field("week", pa.date32(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("psi", pa.float64(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("missing_share", pa.float64(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
    ]
)
"""One row a week and feature (``name`` = ``score`` for the model's output) against the bundle's reference."""
