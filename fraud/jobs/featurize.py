"""Featurize: the features of every new transaction, in one Delta commit.

Every transactions file gets one features file. What is read, and what is done again, says
``fraud.jobs.feature_plan``.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pyarrow as pa

from fraud import schema
from fraud.errors import ChangedMeanwhileError, SchemaError, TableNotFoundError
from fraud.features.spec import FeatureSet
from fraud.jobs import in_threads
from fraud.jobs.feature_plan import APP, LABELS_APP, Plan, labels_version, plan
from fraud.jobs.feature_steps import FeatureFile, PartitionedFrauds, Work, frauds_by_partition
from fraud.jobs.fraud_facts import fraud_labels, frauds_of
from fraud.jobs.history import history_of
from fraud.jobs.waves import waves
from fraud.settings import FeatureSettings
from fraud.storage.lake import Lake

logger = logging.getLogger(__name__)


Cluster = Callable[[], AbstractContextManager[object]]


def run(
    lake: Lake, feature_set: FeatureSet, settings: FeatureSettings, *, cluster: Cluster = nullcontext
) -> dict[str, Any]:
    """Compute and commit the features of the transactions that have none yet.

    Args:
        lake: Holds ``transactions`` and, where frauds are known, ``labels``.
        feature_set: What to compute.
        settings: How the work is cut.
        cluster: Connects to Ray while inside; entered only where a wave is more than this process takes.

    Returns:
        ``features_version``, ``table``, ``features``, ``transactions`` (new ones), ``recomputed`` (rows whose
        files were done again), ``incomplete`` (rows whose windows reach back beyond the lake's history),
        ``files``, ``transactions_version``, ``committed_version`` (None where there was nothing to do)
        and ``seconds``.

    Raises:
        TableNotFoundError: There are no transactions.
        SchemaError: A column that the feature set reads is missing.
        ChangedMeanwhileError: Another run committed features of this set.
    """
    started = time.monotonic()
    version = lake.version(schema.TRANSACTIONS)
    if version is None:
        raise TableNotFoundError(schema.TRANSACTIONS, lake.uri, "run `fraud ingest` first")
    check_columns(lake.schema(schema.TRANSACTIONS, version=version), feature_set)
    labels = labels_version(lake)
    todo = plan(lake, feature_set, version, labels, group_rows=settings.group_rows)
    written: list[FeatureFile] = []
    committed = None
    if todo.groups or todo.outdated:
        before = lake.version(feature_set.table)
        in_turn = list(waves(todo.groups, feature_set.history, rows=settings.wave_rows))
        held = max((wave.rows(todo.groups) for wave in in_turn), default=0)
        partitions = max(_cpus(), -(-held // settings.partition_rows))
        history = history_of(lake, feature_set, version)
        work = Work(lake, feature_set, todo.groups, partitions, history)
        frauds = _frauds(lake, feature_set, todo, partitions)
        logger.info("featurizing", extra={"rows": todo.rows, "waves": len(in_turn), "partitions": partitions})
        if held <= settings.here_rows:
            written = in_threads.run(work, frauds, in_turn, _cpus())
        else:
            with cluster():
                from fraud.jobs import exchange  # Ray reads its environment when it is imported

                written = exchange.run(work, frauds, in_turn)
        if lake.version(feature_set.table) != before:
            raise ChangedMeanwhileError(feature_set.table)
        committed = lake.commit(
            feature_set.table,
            schema.features(feature_set.names),
            [file.part for file in written],
            apps={APP: version, LABELS_APP: labels},
            removed=todo.outdated,
        )
    again = {part.path for part in todo.again}
    return {
        "features_version": feature_set.version,
        "table": feature_set.table,
        "features": len(feature_set.names),
        "transactions": sum(file.part.rows for file in written if file.of not in again),
        "recomputed": sum(file.part.rows for file in written if file.of in again),
        "incomplete": sum(file.incomplete for file in written),
        "files": len(written),
        "transactions_version": version,
        "committed_version": committed,
        "seconds": round(time.monotonic() - started, 3),
    }


def check_columns(present: pa.Schema, feature_set: FeatureSet) -> None:
    """Check that ``transactions`` has what a feature set reads.

    Raises:
        SchemaError: Naming every column that is missing or of another type.
    """
    wanted = {
        **dict.fromkeys(feature_set.entities, pa.string()),
        **dict.fromkeys(feature_set.numbers, pa.float64()),
        **dict.fromkeys(feature_set.texts, pa.string()),
    }
    problems = [
        f"feature set {feature_set.name} reads column {name} as {kind}, which the table "
        + (f"has as {present.field(name).type}" if name in present.names else "does not have")
        for name, kind in wanted.items()
        if name not in present.names or present.field(name).type != kind
    ]
    if problems:
        raise SchemaError(f"table {schema.TRANSACTIONS}", problems)


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _frauds(lake: Lake, feature_set: FeatureSet, todo: Plan, partitions: int) -> PartitionedFrauds:
    """The frauds of each entity that has a window over them; none for the others."""
    labels = _labels(lake, feature_set, todo)
    return {
        key: frauds_by_partition(
            frauds_of(
                labels if any(window.of == "fraud" for window in windows) else labels.slice(0, 0),
                windows[0].window,
            ),
            partitions,
        )
        for key, windows in feature_set.keys.items()
    }


def _labels(lake: Lake, feature_set: FeatureSet, todo: Plan) -> pa.Table:
    """The labels that a window of an asked row can reach."""
    entities = list(
        dict.fromkeys(column for w in feature_set.windows if w.of == "fraud" for column in w.window)
    )
    columns = ["transaction_id", "event_time", "label_time", "source", "is_fraud", *feature_set.entities]
    if not entities or not todo.groups or not lake.exists(schema.LABELS):
        return schema.labels(feature_set.entities).empty_table().select(columns)
    return fraud_labels(lake.read(schema.LABELS, columns=columns))
