"""The monitor's one pass over the lake: every day is read by one task and comes back as a few rows of counts.

A day gives one row of histograms of its features and of the model's score, and one tally per model that
scored it live. The driver merges them by week; no transaction leaves its task.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from numpy.typing import NDArray

from fraud import schema
from fraud.features.encode import matrix
from fraud.model import histogram
from fraud.model.bundle import SCORE
from fraud.model.histogram import Histogram
from fraud.model.truth import truth_as_of
from fraud.monitor.performance import Tally, tally
from fraud.storage.lake import Lake, Part

LIVE: Final = "live"
ALERTS: Final = ("review", "decline")

_TRANSACTION: Final = ("transaction_id", "known_at", "kind", "status", "status_time")
_SCORED: Final = ("transaction_id", "event_time", "model_version", "run_kind", "score", "decision")
_COUNTS: Final = ("transactions", "unknown", "unobservable", "alerts", "hits")
_ROW: Final = pa.schema(
    [
        pa.field(schema.PARTITION, pa.date32()),
        pa.field("model_version", pa.string()),
        *(pa.field(name, pa.int64()) for name in _COUNTS),
        pa.field("scores", pa.list_(pa.float64())),
        pa.field("matured_at", pa.list_(pa.int64())),
        pa.field("frauds_at", pa.list_(pa.int64())),
        pa.field("histograms", pa.string()),
    ]
)
"""A tally has a model and no histograms; histograms, as JSON by name, have no model."""


@dataclass(frozen=True, slots=True)
class DayFiles:
    """The files of one event date."""

    event_date: date
    transactions: tuple[Part, ...]
    features: tuple[Part, ...]
    scores: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class MonitorDay:
    """Reads one day in a Ray Data task.

    Attributes:
        lake: The lake.
        features_table: Name of the features table.
        names: Features to count, in the model's order.
        edges: By feature name and for ``score``, from the model's reference.
        model_version: The model whose scores are compared with the reference.
        days: All days; a batch says which one.
        labels: Reference to the labels, shared by the tasks of a node.
        as_of_us: Instant of knowledge, UTC microseconds.
        maturity_us: Label maturity, microseconds.
    """

    lake: Lake
    features_table: str
    names: tuple[str, ...]
    edges: Mapping[str, tuple[float, ...]]
    model_version: str
    days: tuple[DayFiles, ...]
    labels: ray.ObjectRef[pa.Table]
    as_of_us: int
    maturity_us: int

    def __call__(self, batch: dict[str, NDArray[Any]]) -> pa.Table:
        """Return the rows of the day whose number the batch holds."""
        day = self.days[int(batch["day"][0])]
        transactions = self._read(schema.TRANSACTIONS, day.transactions, _TRANSACTION)
        scores = self._known_scores(self._read(schema.SCORES, day.scores, _SCORED), transactions)
        counted = self._histograms(day, transactions, scores)
        rows: list[dict[str, Any]] = [
            {"histograms": json.dumps({name: each.to_json() for name, each in counted.items()})}
        ]
        labels = _of_day(ray.get(self.labels), day.event_date)
        for model in sorted(pc.unique(scores.column("model_version")).to_pylist()):
            part = self._tally(_of_model(scores, model), transactions, labels)
            rows.append({"model_version": model, **{name: getattr(part, name) for name in Tally.__slots__}})
        return pa.Table.from_pylist([{schema.PARTITION: day.event_date, **row} for row in rows], schema=_ROW)

    def _read(self, name: str, parts: Sequence[Part], columns: Sequence[str]) -> pa.Table:
        if not parts:
            declared = {schema.TRANSACTIONS: schema.transactions((), {}), schema.SCORES: schema.SCORES_SCHEMA}
            whole = declared.get(name, schema.features(self.names))
            return whole.empty_table().select(columns)
        return pa.concat_tables(self.lake.read_part(name, part, columns).select(columns) for part in parts)

    def _known_scores(self, scores: pa.Table, transactions: pa.Table) -> pa.Table:
        """Live scores of transactions that were known at the instant."""
        at = _positions(scores, transactions)
        # A transaction posted since the last ingest is not in the lake yet: it was known when it happened.
        known_at = pc.coalesce(transactions.column("known_at").take(at), scores.column("event_time"))
        live = pc.equal(scores.column("run_kind"), LIVE)
        return scores.filter(pc.and_(live, pc.less_equal(known_at.cast(pa.int64()), self.as_of_us)))

    def _histograms(self, day: DayFiles, transactions: pa.Table, scores: pa.Table) -> dict[str, Histogram]:
        features = self._read(self.features_table, day.features, ["transaction_id", *self.names])
        known = pc.less_equal(transactions.column("known_at").cast(pa.int64()), self.as_of_us)
        scored = pc.is_in(transactions.column("kind"), value_set=pa.array(schema.SCORED_KINDS))
        ids = transactions.filter(pc.and_(known, scored)).column("transaction_id").combine_chunks()
        wanted = features.filter(pc.is_in(features.column("transaction_id"), value_set=ids))
        # Through the encoder, so that the values are those the model saw.
        values = matrix(wanted, self.names) if self.names else np.empty((0, 0), np.float32)
        counted = {
            name: histogram.count(values[:, position], self.edges[name])
            for position, name in enumerate(self.names)
        }
        if SCORE in self.edges:
            own = _of_model(scores, self.model_version).column("score").to_numpy()
            counted[SCORE] = histogram.count(own, self.edges[SCORE])
        return counted

    def _tally(self, scores: pa.Table, transactions: pa.Table, labels: pa.Table) -> Tally:
        at = _positions(scores, transactions)
        truth = truth_as_of(
            np.asarray(scores.column("event_time").cast(pa.int64()), np.int64),
            scores.column("transaction_id"),
            transactions.column("status").take(at),
            transactions.column("status_time").take(at),
            labels,
            as_of_us=self.as_of_us,
            maturity_us=self.maturity_us,
        )
        alerted = pc.is_in(scores.column("decision"), value_set=pa.array(ALERTS))
        return tally(truth, scores.column("score").to_numpy(), alerted.to_numpy())


def read(reader: MonitorDay) -> Iterator[tuple[date, str, Tally] | tuple[date, dict[str, Histogram]]]:
    """Run the pass and yield every day's tallies and histograms, in any order."""
    numbers = [{"day": number} for number in range(len(reader.days))]
    dataset = ray.data.from_items(numbers, override_num_blocks=len(numbers)).map_batches(
        reader, batch_size=1, batch_format="numpy", num_cpus=1
    )
    dataset.set_name("monitor")
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        for position in range(table.num_rows):
            row = {name: table.column(name)[position] for name in _ROW.names}
            day = row[schema.PARTITION].as_py()
            if row["model_version"].is_valid:
                yield day, row["model_version"].as_py(), _tally_of(row)
            else:
                stored = json.loads(row["histograms"].as_py())
                yield day, {name: Histogram.from_json(each) for name, each in stored.items()}


def _tally_of(row: Mapping[str, Any]) -> Tally:
    counts = {name: row[name].as_py() for name in _COUNTS}
    arrays = {name: row[name].values.to_numpy() for name in ("scores", "matured_at", "frauds_at")}
    return Tally(**counts, **arrays)


def _of_model(scores: pa.Table, model_version: str) -> pa.Table:
    return scores.filter(pc.equal(scores.column("model_version"), model_version))


def _of_day(labels: pa.Table, day: date) -> pa.Table:
    """The few labels that a day's truth has to search, by the time of the labelled transaction."""
    return labels.filter(pc.equal(labels.column("event_time").cast(pa.date32()), pa.scalar(day)))


def _positions(scores: pa.Table, transactions: pa.Table) -> pa.Array:
    """Where each score's transaction stands; null where it is not there."""
    ids = transactions.column("transaction_id").combine_chunks()
    found = pc.index_in(scores.column("transaction_id"), value_set=ids)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
