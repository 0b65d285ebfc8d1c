"""One day of batch scoring: what a Ray Data actor does with the files of a day."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.features.encode import matrix
from fraud.model import bundle as bundles
from fraud.model.policy import APPROVE, DECISIONS, Policy
from fraud.storage.lake import Lake, Part

COUNTS: Final = ("rows_in", "already_scored", "without_features", *DECISIONS)
"""What is counted of each day."""


@dataclass(frozen=True, slots=True)
class Day:
    """The files of one event date."""

    event_date: date
    transactions: tuple[Part, ...]
    features: tuple[Part, ...]
    scores: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every row of a run says of its origin."""

    model_version: str
    run_kind: str
    model_digest: str
    policy_version: str
    features_version: str
    scored_at: datetime
    run_id: str


class Scorer:
    """Scores days in an actor of Ray Data."""

    def __init__(self, lake: Lake, files: Mapping[str, bytes], policy: Policy, stamp: Stamp) -> None:
        # The bundle travels as bytes: the driver's cache need not exist on this node.
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            self.bundle = bundles.load(Path(folder), digest=stamp.model_digest)
        self.lake = lake
        self.policy = policy
        self.stamp = stamp

    def __call__(self, batch: dict[str, NDArray[Any]]) -> pa.Table:
        """Score the day in the batch, write its file, return the file and the counts as one row."""
        day: Day = batch["day"][0]
        scorable = self._scorable(day)
        ids = scorable.column("transaction_id").combine_chunks()
        names = self.bundle.feature_set.names
        table = self.bundle.feature_set.table
        features = self._read(table, day.features, ["transaction_id", "event_time", *names])
        features = features.filter(pc.is_in(features.column("transaction_id"), value_set=ids))
        done = pc.is_in(features.column("transaction_id"), value_set=self._scored(day))
        new = features.filter(pc.invert(done))
        own = pc.index_in(new.column("transaction_id"), value_set=ids)
        result = self._score(new, scorable.column("amount_base_minor").take(own))
        part = self.lake.write_part(schema.SCORES, result, day.event_date) if new.num_rows else None
        decided = result.column("decision").to_pylist()
        row = {
            "path": part.path if part else "",
            "rows": new.num_rows,
            "size": part.size if part else 0,
            "event_date": day.event_date,
            "rows_in": features.num_rows,
            "already_scored": pc.sum(done).as_py() or 0,
            "without_features": len(ids) - features.num_rows,
            **{decision: decided.count(decision) for decision in DECISIONS},
        }
        return pa.table({name: [value] for name, value in row.items()})

    def _scorable(self, day: Day) -> pa.Table:
        columns = ["transaction_id", "kind", "amount_base_minor"]
        rows = self._read(schema.TRANSACTIONS, day.transactions, columns)
        return rows.filter(pc.is_in(rows.column("kind"), value_set=pa.array(schema.SCORED_KINDS)))

    def _scored(self, day: Day) -> pa.Array:
        rows = self._read(schema.SCORES, day.scores, ["transaction_id", "model_version", "run_kind"])
        return of_run(rows, self.stamp).column("transaction_id").combine_chunks()

    def _score(self, rows: pa.Table, amount_base_minor: pa.ChunkedArray) -> pa.Table:
        names = self.bundle.feature_set.names
        values = matrix(rows, names)
        scores = self.bundle.scores(values)
        probabilities = self.bundle.probabilities(scores)
        amounts = np.asarray(amount_base_minor.to_numpy(), np.int64)
        decided = self.policy.decide(probabilities, amounts)
        asked = np.flatnonzero(np.array(decided, np.str_) != APPROVE)
        found = self.bundle.explainer.causes(values[asked], most=self.policy.max_reasons)
        why: list[Sequence[str]] = [()] * rows.num_rows
        for row, causes in zip(asked, found, strict=True):
            why[row] = [cause.code for cause in causes]
        stamp = self.stamp
        columns = {
            "transaction_id": rows.column("transaction_id"),
            "event_time": rows.column("event_time"),
            "score": scores,
            "probability": probabilities,
            "decision": decided,
            "reasons": pa.array(why, pa.list_(pa.string())),
            **{name: [getattr(stamp, name)] * rows.num_rows for name in Stamp.__dataclass_fields__},
        }
        stored = [field for field in schema.SCORES_SCHEMA if field.name != schema.PARTITION]
        return pa.table({field.name: columns[field.name] for field in stored}, pa.schema(stored))

    def _read(self, name: str, parts: Sequence[Part], columns: Sequence[str]) -> pa.Table:
        if not parts:
            core = {"event_time": schema.TIME, "transaction_id": pa.string()}
            kinds = {**core, "model_version": pa.string(), "run_kind": pa.string()}
            return pa.schema([(column, kinds.get(column, pa.float64())) for column in columns]).empty_table()
        return pa.concat_tables(self.lake.read_part(name, part, columns).select(columns) for part in parts)


def of_run(rows: pa.Table, stamp: Stamp) -> pa.Table:
    """The scores of one model version and kind of run."""
    same_model = pc.equal(rows.column("model_version"), stamp.model_version)
    return rows.filter(pc.and_(same_model, pc.equal(rows.column("run_kind"), stamp.run_kind)))
