"""Featurize: the features of every new transaction, in one Delta commit.

The files of ``transactions`` that came since the last run are new; older files within the feature set's
history lend their rows, and nothing else is read. Every transactions file gets one features file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray

from fraud import schema
from fraud.errors import SchemaError, TableNotFoundError
from fraud.features.row import row_features
from fraud.features.spec import FeatureSet
from fraud.jobs import exchange
from fraud.jobs.exchange import WindowColumns, scored_rows
from fraud.jobs.fraud_facts import frauds_of
from fraud.settings import FeatureSettings
from fraud.storage.lake import Lake, Part

logger = logging.getLogger(__name__)

APP = "featurize"
"""Features are committed under this application id, with the version of ``transactions`` they cover."""
_GROUP_ROWS = 150_000
"""Rows a group of files holds about: enough to be worth a task, small enough to stay in memory."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files handled by one task; ``asked`` says whether their features are wanted or only their history."""

    parts: tuple[Part, ...]
    asked: bool


def run(lake: Lake, feature_set: FeatureSet, settings: FeatureSettings) -> dict[str, Any]:
    """Compute and commit the features of the transactions that have none yet.

    Args:
        lake: Holds ``transactions`` and, where frauds are known, ``labels``.
        feature_set: What to compute.
        settings: How the work is cut.

    Returns:
        ``features_version``, ``table``, ``transactions`` (new ones), ``files``, ``transactions_version``,
        ``features_version_committed`` (None where there was nothing new) and ``seconds``.

    Raises:
        TableNotFoundError: There are no transactions.
        SchemaError: A column that the feature set reads is missing.
    """
    started = time.monotonic()
    version = lake.version(schema.TRANSACTIONS)
    if version is None:
        raise TableNotFoundError(schema.TRANSACTIONS, lake.uri, "run `fraud ingest` first")
    _check_columns(lake.schema(schema.TRANSACTIONS, version=version), feature_set)
    groups = _groups(lake, feature_set, version)
    parts: list[Part] = []
    committed = None
    if any(group.asked for group in groups):
        logger.info("featurizing", extra={"groups": len(groups), "features_version": feature_set.version})
        parts = _compute(lake, feature_set, groups, settings.partitions)
        committed = lake.commit(
            feature_set.table, schema.features(feature_set.names), parts, app=(APP, version)
        )
    return {
        "features_version": feature_set.version,
        "table": feature_set.table,
        "features": len(feature_set.names),
        "transactions": sum(part.rows for part in parts),
        "files": len(parts),
        "transactions_version": version,
        "committed_version": committed,
        "seconds": round(time.monotonic() - started, 3),
    }


def _check_columns(present: pa.Schema, feature_set: FeatureSet) -> None:
    wanted = {
        **dict.fromkeys(feature_set.entities, pa.string()),
        **dict.fromkeys(feature_set.numbers, pa.float64()),
        **dict.fromkeys(feature_set.categories, pa.string()),
    }
    problems = [
        f"feature set {feature_set.name} reads column {name} as {kind}, which the table "
        + (f"has as {present.field(name).type}" if name in present.names else "does not have")
        for name, kind in wanted.items()
        if name not in present.names or present.field(name).type != kind
    ]
    if problems:
        raise SchemaError(f"table {schema.TRANSACTIONS}", problems)


def _groups(lake: Lake, feature_set: FeatureSet, version: int) -> list[Group]:
    """New files, and the older ones that their windows can reach."""
    parts = lake.parts(schema.TRANSACTIONS, version=version)
    done = lake.app_version(feature_set.table, APP)
    before = set() if done is None else {part.path for part in lake.parts(schema.TRANSACTIONS, version=done)}
    new = [part for part in parts if part.path not in before]
    if not new:
        return []
    # A date minus a timedelta forgets the hours, so one more day.
    oldest = min(_day(part) for part in new) - timedelta(days=feature_set.history.days + 1)
    newest = max(_day(part) for part in new)
    old = [part for part in parts if part.path in before and oldest <= _day(part) <= newest]
    return [Group(chunk, asked=False) for chunk in _chunks(old)] + [
        Group(chunk, asked=True) for chunk in _chunks(new)
    ]


def _day(part: Part) -> date:
    return part.event_date or date.min


def _chunks(parts: Sequence[Part]) -> list[tuple[Part, ...]]:
    chunks: list[list[Part]] = []
    rows = _GROUP_ROWS
    for part in parts:
        if rows >= _GROUP_ROWS:
            chunks.append([])
            rows = 0
        chunks[-1].append(part)
        rows += part.rows
    return [tuple(chunk) for chunk in chunks]


def _compute(lake: Lake, feature_set: FeatureSet, groups: Sequence[Group], partitions: int) -> list[Part]:
    asking = [group for group in groups if group.asked]
    pieces = _windows(lake, feature_set, groups, partitions)
    # References inside the writer are not resolved by Ray Data, so a task fetches its own pieces only.
    written = ray.data.range(len(asking), override_num_blocks=len(asking)).map_batches(
        _Writer(lake, feature_set, asking, pieces), batch_size=1, batch_format="numpy", num_cpus=1
    )
    return [Part(**row) for row in written.take_all()]


def _windows(
    lake: Lake, feature_set: FeatureSet, groups: Sequence[Group], partitions: int
) -> list[list[ray.ObjectRef[WindowColumns]]]:
    """Start the exchange; return per asking group the references to its window features."""
    asked = [group.asked for group in groups]
    entities = feature_set.entities
    if not entities:
        return [[] for wanted in asked if wanted]
    returns = max(1, len(entities) * partitions)
    sent = [
        exchange.send.options(num_returns=returns, name="exchange: send").remote(
            lake, group.parts, entities, partitions
        )
        for group in groups
    ]
    sent = [slices if returns > 1 else [slices] for slices in sent]
    pieces: list[list[ray.ObjectRef[WindowColumns]]] = [[] for wanted in asked if wanted]
    for position, entity in enumerate(entities):
        windows = [window for window in feature_set.windows if window.window == entity]
        frauds = ray.put(frauds_of(_fraud_labels(lake, feature_set, entity), entity))
        for partition in range(partitions):
            slices = [group[position * partitions + partition] for group in sent]
            back = exchange.compute.options(num_returns=len(pieces), name=f"exchange: {entity}").remote(
                windows, frauds, asked, *slices
            )
            for group, piece in zip(pieces, [back] if len(pieces) == 1 else back, strict=True):
                group.append(piece)
    return pieces


def _fraud_labels(lake: Lake, feature_set: FeatureSet, entity: str) -> pa.Table:
    columns = ["transaction_id", "event_time", "label_time", "source", "is_fraud", entity]
    if entity in feature_set.fraud_entities and lake.exists(schema.LABELS):
        return lake.read(schema.LABELS, columns=columns)
    return schema.labels([entity]).empty_table().select(columns)


class _Writer:
    """Reads a group's transactions again, puts their window features beside them, writes features files."""

    def __init__(
        self,
        lake: Lake,
        feature_set: FeatureSet,
        groups: Sequence[Group],
        pieces: list[list[ray.ObjectRef[WindowColumns]]],
    ) -> None:
        self.lake = lake
        self.feature_set = feature_set
        self.groups = groups
        self.pieces = pieces

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, list[Any]]:
        number = int(batch["id"][0])
        parts = self.groups[number].parts
        tables = [scored_rows(self.lake.read_part(schema.TRANSACTIONS, part)) for part in parts]
        windows = self._columns(number, sum(table.num_rows for table in tables))
        written: list[Part] = []
        start = 0
        for part, table in zip(parts, tables, strict=True):
            stop = start + table.num_rows
            own = {name: column[start:stop] for name, column in windows.items()}
            if table.num_rows:
                written.append(self._write(part, table, own))
            start = stop
        fields = ("path", "rows", "size", "event_date")
        return {name: [getattr(part, name) for part in written] for name in fields}

    def _columns(self, group: int, rows: int) -> dict[str, NDArray[np.float64]]:
        names = [name for window in self.feature_set.windows for name in window.names]
        columns = {name: np.full(rows, np.nan) for name in names}
        for piece in ray.get(self.pieces[group]):
            for name, column in piece.columns.items():
                columns[name][piece.position] = column
        return columns

    def _write(self, part: Part, table: pa.Table, windows: dict[str, NDArray[np.float64]]) -> Part:
        columns = windows | row_features(
            self.feature_set,
            np.asarray(table.column("event_time").cast(pa.int64()).to_numpy(), np.int64),
            np.asarray(table.column("amount_base_minor").to_numpy(), np.int64),
            {
                name: np.asarray(table.column(name).to_numpy(), np.float64)
                for name in self.feature_set.numbers
            },
            {name: table.column(name).to_pylist() for name in self.feature_set.categories},
        )
        features = pa.table(
            [table.column("transaction_id"), table.column("event_time")]
            + [pa.array(columns[name]) for name in self.feature_set.names],
            names=["transaction_id", "event_time", *self.feature_set.names],
        )
        return self.lake.write_part(self.feature_set.table, features, part.event_date)
