"""Examples: transactions whose truth was known at an instant, with their features, as one Ray Data dataset.

Every day is read by one task that joins the day's files of ``transactions`` and of the features table by
``transaction_id``; labels are few and go to every task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from numpy.typing import NDArray
from ray.data import Dataset

from fraud import schema
from fraud.errors import NotEnoughDataError
from fraud.features.encode import matrix
from fraud.features.spec import FeatureSet
from fraud.jobs import feature_plan
from fraud.model.truth import FRAUD, GENUINE, truth_as_of
from fraud.storage.lake import Lake, Part

CARD: Final = "card_id"

FIELDS: Final = (
    pa.field("transaction_id", pa.string()),
    pa.field("event_time", schema.TIME),
    pa.field(schema.PARTITION, pa.date32()),
    pa.field(CARD, pa.string()),
    pa.field("amount_base_minor", pa.int64()),
    pa.field("is_fraud", pa.bool_()),
)
"""What an example has beside one float32 column per feature; ``card_id`` is null where the lake has none."""

_READ: Final = (
    "transaction_id", "event_time", "known_at", "kind", "status", "status_time", "amount_base_minor",
)  # fmt: skip
_LABEL: Final = ("transaction_id", "event_time", "label_time", "source", "is_fraud", "fraud_type")


def pin(lake: Lake, feature_set: FeatureSet) -> dict[str, int]:
    """Return the version of each table to read, so that all examples of a run see one state of the lake.

    ``transactions`` is pinned to the newest version whose rows all have features, so that an ingest that is
    running, or not featurized yet, changes nothing.

    Raises:
        TableNotFoundError: There are no transactions, or no features of this set.
    """
    versions = {}
    for name in (schema.TRANSACTIONS, feature_set.table):
        lake.schema(name)  # raises where the table is missing
        versions[name] = lake.version(name) or 0
    featurized = lake.app_version(feature_set.table, feature_plan.APP)
    if featurized is not None:
        versions[schema.TRANSACTIONS] = featurized
    labels = lake.version(schema.LABELS)
    return versions if labels is None else {**versions, schema.LABELS: labels}


def days(lake: Lake, versions: Mapping[str, int]) -> tuple[date, date]:
    """Return the first day with transactions and the day after the last one.

    Raises:
        NotEnoughDataError: The table is empty.
    """
    parts = lake.parts(schema.TRANSACTIONS, version=versions[schema.TRANSACTIONS])
    found = [part.event_date for part in parts if part.event_date is not None and part.rows > 0]
    if not found:
        raise NotEnoughDataError("the lake has no transactions: run `fraud ingest` first")
    return min(found), max(found) + timedelta(days=1)


def labels_of(
    lake: Lake, versions: Mapping[str, int], *, first: date, last: date, entities: Sequence[str] = ()
) -> pa.Table:
    """Return the labels of transactions with first <= event date < last; no rows where there are none.

    Args:
        lake: The lake.
        versions: From ``pin``.
        first: First day.
        last: The day after the last.
        entities: Entity id columns wanted beside the label's own.
    """
    columns = [*_LABEL, *entities]
    if schema.LABELS not in versions:
        return schema.labels(entities).empty_table().select(columns)
    labels = lake.read(schema.LABELS, columns=columns, version=versions[schema.LABELS])
    at = labels.column("event_time")
    inside = pc.and_(
        pc.greater_equal(at, pa.scalar(midnight(first), schema.TIME)),
        pc.less(at, pa.scalar(midnight(last), schema.TIME)),
    )
    return labels.filter(inside)


def examples(
    lake: Lake,
    feature_set: FeatureSet,
    *,
    first: date,
    last: date,
    as_of: datetime,
    maturity: timedelta,
    versions: Mapping[str, int] | None = None,
    undecided: bool = False,
) -> Dataset:
    """Return the scored transactions of some days whose truth was known, lazily.

    Args:
        lake: Holds ``transactions``, the features and, where there are any, ``labels``.
        feature_set: Which features.
        first: First event date.
        last: The day after the last event date.
        as_of: Only facts known by this instant count: transactions, labels, statuses.
        maturity: Age from which a transaction without a label is presumed genuine.
        versions: From ``pin``; None pins the tables now.
        undecided: Whether those whose truth was not known come too, their ``is_fraud`` null.

    Returns:
        Rows of ``FIELDS`` and one float32 column per feature (missing is NaN), one block a day. A lost
        feature row is a ``NotEnoughDataError`` when the dataset runs.

    Raises:
        TableNotFoundError: There are no transactions, or no features of this set.
        NotEnoughDataError: These days have no transactions.
    """
    pinned = pin(lake, feature_set) if versions is None else versions
    plan = _plan(lake, feature_set, pinned, first, last)
    if not plan:
        raise NotEnoughDataError(f"the lake has no transactions from {first} up to {last}: ingest these days")
    names = lake.schema(schema.TRANSACTIONS, version=pinned[schema.TRANSACTIONS]).names
    reader = ExamplesOfDay(
        lake=lake,
        table=feature_set.table,
        names=feature_set.names,
        card=CARD in names,
        days=tuple(plan),
        labels=ray.put(labels_of(lake, pinned, first=first, last=last)),
        as_of_us=micros(as_of),
        maturity_us=maturity // timedelta(microseconds=1),
        undecided=undecided,
    )
    numbers = [{"day": number} for number in range(len(plan))]
    read = ray.data.from_items(numbers, override_num_blocks=len(numbers))
    dataset = read.map_batches(reader, batch_size=1, batch_format="numpy", num_cpus=1)
    dataset.set_name(f"examples_{first:%Y%m%d}_{last:%Y%m%d}")
    return dataset


def to_table(dataset: Dataset) -> pa.Table:
    """Bring examples to this process, in the order of (event_time, transaction_id).

    Raises:
        NotEnoughDataError: There are none.
    """
    tables = [
        table for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow") if table.num_rows > 0
    ]
    if not tables:
        raise NotEnoughDataError(
            "these days hold no transaction whose truth is known: ingest labels, take older days, or lower "
            "labels.label_maturity_d"
        )
    return pa.concat_tables(tables).sort_by([("event_time", "ascending"), ("transaction_id", "ascending")])


def midnight(day: date) -> datetime:
    """The first instant of a day, UTC."""
    return datetime.combine(day, time(), UTC)


def micros(instant: datetime) -> int:
    """An instant as UTC microseconds since 1970, exactly."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Day:
    """The files of one event date."""

    event_date: date
    transactions: tuple[Part, ...]
    features: tuple[Part, ...]


def _plan(
    lake: Lake, feature_set: FeatureSet, versions: Mapping[str, int], first: date, last: date
) -> list[Day]:
    files: dict[str, dict[date, list[Part]]] = {}
    for name in (schema.TRANSACTIONS, feature_set.table):
        files[name] = {}
        for part in lake.parts(name, version=versions[name]):
            if part.event_date is not None and first <= part.event_date < last:
                files[name].setdefault(part.event_date, []).append(part)
    features = files[feature_set.table]
    return [
        Day(day, tuple(parts), tuple(features.get(day, ())))
        for day, parts in sorted(files[schema.TRANSACTIONS].items())
    ]


@dataclass(frozen=True)
class ExamplesOfDay:
    """Reads one day in a Ray Data task.

    Attributes:
        lake: The lake.
        table: Name of the features table.
        names: Feature columns in model order.
        card: Whether the lake has ``card_id``.
        days: All days; a batch says which one.
        labels: Reference to the labels of these days, shared by the tasks of a node.
        as_of_us: Instant of knowledge, UTC microseconds.
        maturity_us: Label maturity, microseconds.
        undecided: Whether transactions of unknown truth are wanted too.
    """

    lake: Lake
    table: str
    names: tuple[str, ...]
    card: bool
    days: tuple[Day, ...]
    labels: ray.ObjectRef[pa.Table]
    as_of_us: int
    maturity_us: int
    undecided: bool = False

    def __call__(self, batch: dict[str, NDArray[Any]]) -> pa.Table:
        """Return the examples of the day whose number the batch holds."""
        day = self.days[int(batch["day"][0])]
        rows = self._read(schema.TRANSACTIONS, day.transactions, [*_READ, *([CARD] if self.card else [])])
        rows = self._scored_and_known(rows)
        truth = self._truth(rows)
        if not self.undecided:
            decided = np.isin(truth, (FRAUD, GENUINE))
            rows, truth = rows.filter(pa.array(decided)), truth[decided]
        columns = {name: rows.column(name) for name in ("transaction_id", "event_time", "amount_base_minor")}
        columns |= {
            schema.PARTITION: pa.array(np.full(rows.num_rows, day.event_date, "datetime64[D]")),
            CARD: rows.column(CARD) if self.card else pa.nulls(rows.num_rows, pa.string()),
            "is_fraud": pa.array(truth == FRAUD, mask=~np.isin(truth, (FRAUD, GENUINE))),
        }
        columns |= self._features(day, rows.column("transaction_id"))
        fields = [*FIELDS, *(pa.field(name, pa.float32()) for name in self.names)]
        return pa.table([columns[field.name] for field in fields], schema=pa.schema(fields))

    def _read(self, name: str, parts: Sequence[Part], columns: Sequence[str]) -> pa.Table:
        return pa.concat_tables(self.lake.read_part(name, part, columns).select(columns) for part in parts)

    def _scored_and_known(self, rows: pa.Table) -> pa.Table:
        scored = pc.is_in(rows.column("kind"), value_set=pa.array(schema.SCORED_KINDS))
        known = pc.less_equal(rows.column("known_at").cast(pa.int64()), self.as_of_us)
        return rows.filter(pc.and_(scored, known))

    def _truth(self, rows: pa.Table) -> NDArray[np.int8]:
        return truth_as_of(
            np.asarray(rows.column("event_time").cast(pa.int64()), np.int64),
            rows.column("transaction_id"),
            rows.column("status"),
            rows.column("status_time"),
            ray.get(self.labels),
            as_of_us=self.as_of_us,
            maturity_us=self.maturity_us,
        )

    def _features(self, day: Day, ids: pa.ChunkedArray) -> dict[str, pa.Array]:
        if len(ids) == 0:
            return {name: pa.array([], pa.float32()) for name in self.names}
        table = (
            self._read(self.table, day.features, ["transaction_id", *self.names])
            if day.features
            else schema.features(self.names).empty_table()
        )
        at = pc.index_in(ids, value_set=table.column("transaction_id").combine_chunks())
        if at.null_count:
            raise NotEnoughDataError(
                f"{at.null_count} of {len(ids)} transactions of {day.event_date} have no features in "
                f"{self.table}: run `fraud featurize` first"
            )
        values = matrix(table.select(self.names), self.names)[np.asarray(at)]
        return {name: pa.array(values[:, position]) for position, name in enumerate(self.names)}
