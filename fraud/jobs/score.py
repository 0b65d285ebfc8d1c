"""Score: every transaction that has features and no score of this model yet, in one Delta commit.

A day is one task. An actor loads the bundle once, reads the day, leaves out what is scored already, and
writes one file; nothing is visible before the driver commits them all. So a run that is killed changes
nothing, and a run that is repeated adds nothing.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from numpy.typing import NDArray

from fraud import schema
from fraud.errors import ClusterError, ConfigError, TableNotFoundError
from fraud.features.encode import matrix
from fraud.model import bundle as bundles
from fraud.model.bundle import Bundle
from fraud.model.policy import DECISIONS, Policy
from fraud.model.reasons import reasons
from fraud.settings import ScoreSettings
from fraud.storage.lake import Lake, Part

if TYPE_CHECKING:
    from fraud.storage.registry import ModelRef  # its MLflow costs seconds and is no use to an actor

logger = logging.getLogger(__name__)

LIVE: Final = "live"
RUN_KINDS: Final = (LIVE, "backfill", "rescore")

_COUNTS: Final = ("rows_in", "already_scored", "without_features", *DECISIONS)


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


def run(
    lake: Lake,
    ref: ModelRef,
    bundle: Bundle,
    policy: Policy,
    *,
    settings: ScoreSettings,
    run_kind: str = LIVE,
    first: date | None = None,
) -> dict[str, Any]:
    """Score what this model version has not scored yet under this kind of run.

    Args:
        lake: Holds transactions and the features of the bundle's set.
        ref: The version, from ``Registry.resolve``.
        bundle: Its verified copy, from ``Registry.fetch``.
        policy: Its policy, from there too.
        settings: Actors and their CPUs.
        run_kind: ``live``, ``backfill`` or ``rescore``; only live rows count as performance.
        first: Leave earlier event dates alone.

    Returns:
        ``rows_in`` (transactions with features) = ``scored`` + ``already_scored``; ``without_features`` (run
        `fraud featurize` for them), ``decisions`` of this run, ``model_version``, ``run_kind``, ``run_id``,
        ``scores_version`` (None where there is no table yet), ``seconds`` and ``rows_per_s``.

    Raises:
        ConfigError: There is no such kind of run.
        TableNotFoundError: Transactions or features are missing.
        ClusterError: Another run of the same model and kind committed meanwhile.
    """
    started = time.monotonic()
    if run_kind not in RUN_KINDS:
        raise ConfigError(f"run_kind = {run_kind}", f"is one of {', '.join(RUN_KINDS)}")
    version = lake.version(schema.TRANSACTIONS)
    if version is None:
        raise TableNotFoundError(schema.TRANSACTIONS, lake.uri, "run `fraud ingest` first")
    features_version = bundle.feature_set.version
    stamp = Stamp(
        ref.version, run_kind, bundle.digest, policy.version, features_version, datetime.now(UTC), uuid4().hex
    )
    known = _score_parts(lake)
    days = _days(lake, bundle, known, version, first)
    logger.info("scoring", extra={"days": len(days), "model_version": ref.version, "run_kind": run_kind})
    rows = _work(lake, days, bundle, policy, stamp, settings=settings)
    counts = {name: sum(int(row[name]) for row in rows) for name in _COUNTS}
    parts = [
        Part(row["path"], int(row["rows"]), int(row["size"]), row["event_date"])
        for row in rows
        if row["rows"]
    ]
    if parts:
        _refuse_race(lake, known, stamp)
        app = f"score:{ref.name}:{ref.version}:{run_kind}"
        lake.commit(schema.SCORES, schema.SCORES_SCHEMA, parts, app=(app, version))
    if counts["without_features"]:
        logger.warning(
            "transactions without features are not scored, run `fraud featurize` first",
            extra={"without_features": counts["without_features"]},
        )
    seconds = time.monotonic() - started
    scored = sum(part.rows for part in parts)
    return {
        "rows_in": counts["rows_in"],
        "scored": scored,
        "already_scored": counts["already_scored"],
        "without_features": counts["without_features"],
        "decisions": {decision: counts[decision] for decision in DECISIONS},
        "model_version": ref.version,
        "model_digest": bundle.digest,
        "policy_version": policy.version,
        "run_kind": run_kind,
        "run_id": stamp.run_id,
        "scores_version": lake.version(schema.SCORES),
        "seconds": round(seconds, 3),
        "rows_per_s": round(scored / seconds, 1),
    }


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
        ids = self._scorable(day)
        names = self.bundle.feature_set.names
        table = self.bundle.feature_set.table
        features = self._read(table, day.features, ["transaction_id", "event_time", *names])
        features = features.filter(pc.is_in(features.column("transaction_id"), value_set=ids))
        done = pc.is_in(features.column("transaction_id"), value_set=self._scored(day))
        new = features.filter(pc.invert(done))
        result = self._score(new)
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

    def _scorable(self, day: Day) -> pa.Array:
        rows = self._read(schema.TRANSACTIONS, day.transactions, ["transaction_id", "kind"])
        wanted = pc.is_in(rows.column("kind"), value_set=pa.array(schema.SCORED_KINDS))
        return rows.filter(wanted).column("transaction_id").combine_chunks()

    def _scored(self, day: Day) -> pa.Array:
        rows = self._read(schema.SCORES, day.scores, ["transaction_id", "model_version", "run_kind"])
        return _of(rows, self.stamp).column("transaction_id").combine_chunks()

    def _score(self, rows: pa.Table) -> pa.Table:
        names = self.bundle.feature_set.names
        values = matrix(rows, names)
        scores = self.bundle.scores(values)
        probabilities = self.bundle.probabilities(scores)
        asked = np.flatnonzero(self.policy.reasons_asked(probabilities))
        told = reasons(self.bundle.booster, values[asked], names, most=self.policy.max_reasons)
        why: list[Sequence[str]] = [()] * rows.num_rows
        for row, texts in zip(asked, told, strict=True):
            why[row] = texts
        stamp = self.stamp
        columns = {
            "transaction_id": rows.column("transaction_id"),
            "event_time": rows.column("event_time"),
            "score": scores,
            "probability": probabilities,
            "decision": self.policy.decide(probabilities),
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


def _of(rows: pa.Table, stamp: Stamp) -> pa.Table:
    """The scores of one model version and kind of run."""
    same_model = pc.equal(rows.column("model_version"), stamp.model_version)
    return rows.filter(pc.and_(same_model, pc.equal(rows.column("run_kind"), stamp.run_kind)))


def _score_parts(lake: Lake) -> list[Part]:
    return lake.parts(schema.SCORES) if lake.exists(schema.SCORES) else []


def _days(lake: Lake, bundle: Bundle, scores: Sequence[Part], version: int, first: date | None) -> list[Day]:
    sources = (
        lake.parts(schema.TRANSACTIONS, version=version),
        lake.parts(bundle.feature_set.table),
        scores,
    )
    found: dict[date, tuple[list[Part], list[Part], list[Part]]] = {}
    for kind, parts in enumerate(sources):
        for part in parts:
            if part.event_date is not None and (first is None or part.event_date >= first):
                found.setdefault(part.event_date, ([], [], []))[kind].append(part)
    return [
        Day(day, tuple(files[0]), tuple(files[1]), tuple(files[2]))
        for day, files in sorted(found.items())
        if files[0]
    ]


def _work(
    lake: Lake, days: Sequence[Day], bundle: Bundle, policy: Policy, stamp: Stamp, *, settings: ScoreSettings
) -> list[dict[str, Any]]:
    """Score the days in a pool of actors; return one row of counts a day."""
    if not days:
        return []
    files = {file.name: file.read_bytes() for file in bundle.path.iterdir()}
    rows = ray.data.from_items([{"day": day} for day in days], override_num_blocks=len(days))
    scored = rows.map_batches(
        Scorer,
        fn_constructor_args=(lake, files, policy, stamp),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=min(settings.actors, len(days))),
        num_cpus=settings.cpus_per_actor,
    )
    scored.set_name(f"score_{stamp.model_version}_{stamp.run_kind}")
    taken: list[dict[str, Any]] = scored.take_all()
    return taken


def _refuse_race(lake: Lake, known: Sequence[Part], stamp: Stamp) -> None:
    """Refuse to commit where another run has scored for this model since this one began to read."""
    before = {part.path for part in known}
    for part in _score_parts(lake):
        if part.path in before:
            continue
        if _of(lake.read_part(schema.SCORES, part, ["model_version", "run_kind"]), stamp).num_rows:
            raise ClusterError(
                "another run scored with this model version meanwhile, nothing was committed: run it again"
            )
