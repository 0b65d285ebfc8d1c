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
        """Score the days in the batch and write a file for each; return files and counts, one row a day."""
        return pa.Table.from_pylist([self._day(day) for day in batch["day"]])

    def _day(self, day: Day) -> dict[str, Any]:
        features, amounts, without = self._featurized(day)
        done = pc.is_in(features.column("transaction_id"), value_set=self._scored(day))
        already = pc.sum(done).as_py() or 0
        if already:
            new = pc.invert(done)
            features, amounts = features.filter(new), amounts.filter(new)
        result = self._score(features, amounts)
        part = self.lake.write_part(schema.SCORES, result, day.event_date) if result.num_rows else None
        decided = {
            each["values"]: each["counts"] for each in result.column("decision").value_counts().to_pylist()
        }
        return {
            "path": part.path if part else "",
            "rows": result.num_rows,
            "size": part.size if part else 0,
            "event_date": day.event_date,
            "rows_in": already + result.num_rows,
            "already_scored": already,
            "without_features": without,
            **{decision: decided.get(decision, 0) for decision in DECISIONS},
        }

    def _featurized(self, day: Day) -> tuple[pa.Table, pa.ChunkedArray, int]:
        """Return the features of the day's transactions, their amounts, and how many have no features."""
        scorable = self._scorable(day)
        feature_set = self.bundle.feature_set
        columns = ["transaction_id", "event_time", *feature_set.names]
        features = self._read(feature_set.table, day.features, columns)
        ids, amounts = scorable.column("transaction_id"), scorable.column("amount_base_minor")
        if features.column("transaction_id").equals(ids):
            return features, amounts, 0  # as `fraud featurize` leaves a day: no need to look each one up
        ids = ids.combine_chunks()
        features = features.filter(pc.is_in(features.column("transaction_id"), value_set=ids))
        own = pc.index_in(features.column("transaction_id"), value_set=ids)
        return features, amounts.take(own), len(ids) - features.num_rows

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
        stamp = self.stamp
        columns = {
            "transaction_id": rows.column("transaction_id"),
            "event_time": rows.column("event_time"),
            "score": scores,
            "probability": probabilities,
            "decision": pa.array(decided, pa.string()),
            "reasons": self._reasons(
                values, np.array([decision != APPROVE for decision in decided], np.bool_)
            ),
            **{
                field.name: pa.repeat(pa.scalar(getattr(stamp, field.name), field.type), rows.num_rows)
                for field in schema.SCORES_SCHEMA
                if field.name in Stamp.__dataclass_fields__
            },
        }
        stored = [field for field in schema.SCORES_SCHEMA if field.name != schema.PARTITION]
        return pa.table({field.name: columns[field.name] for field in stored}, pa.schema(stored))

    def _reasons(self, values: NDArray[np.float32], asked: NDArray[np.bool_]) -> pa.ListArray:
        """The codes of the rows that are asked for; the others have an empty list."""
        found = self.bundle.explainer.causes(values[asked], most=self.policy.max_reasons)
        lengths = np.zeros(len(asked) + 1, np.int32)
        lengths[1:][asked] = [len(causes) for causes in found]
        codes = [cause.code for causes in found for cause in causes]
        return pa.ListArray.from_arrays(
            pa.array(np.cumsum(lengths, dtype=np.int32)), pa.array(codes, pa.string())
        )

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
