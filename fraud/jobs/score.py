"""Score: every transaction that has features and no score of this model yet, in one Delta commit.

An actor loads the bundle once, reads some days a task, leaves out what is scored already, and writes a file
a day; nothing is visible before the driver commits them all. So a run that is killed changes nothing, and a
run that is repeated adds nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from fraud import schema
from fraud.errors import ChangedMeanwhileError, ConfigError, TableNotFoundError, UnreconciledError
from fraud.jobs.reconcile import reconcile
from fraud.jobs.score_day import COUNTS, Day, Scorer, Stamp, of_run
from fraud.model.bundle import Bundle
from fraud.model.policy import DECISIONS, Policy
from fraud.settings import ScoreSettings
from fraud.storage.lake import Lake, Part

if TYPE_CHECKING:
    # MLflow costs seconds and is no use to an actor.
    from fraud.storage.registry import ModelRef
    from fraud.storage.tracking import Tracking

logger = logging.getLogger(__name__)

LIVE: Final = "live"
RUN_KINDS: Final = (LIVE, "backfill", "rescore")

_NOTED: Final = ("rows_in", "scored", "already_scored", "without_features", "seconds", "rows_per_s")

_READERS: Final = 8
"""Threads that look which days are finished; they wait for files."""
_TRIES: Final = 5
_TURNS: Final = 16
"""An actor gets its days in about so many tasks: fewer cost Ray less, more leave less to wait for."""
_ROWS_WORTH_AN_ACTOR: Final = 500_000
"""An actor takes seconds of a CPU to start; in that time another one scores so many rows."""


def run(
    lake: Lake,
    ref: ModelRef,
    bundle: Bundle,
    policy: Policy,
    *,
    settings: ScoreSettings,
    run_kind: str = LIVE,
    first: date | None = None,
    last: date | None = None,
    tracking: Tracking | None = None,
) -> dict[str, Any]:
    """Score what this model version has not scored yet under this kind of run.

    Of two runs that score the same day at once, one commits. The other throws away what it wrote, looks
    again, and finds the day scored.

    Args:
        lake: Holds transactions and the features of the bundle's set.
        ref: The version, from ``Registry.resolve``.
        bundle: Its verified copy, from ``Registry.fetch``.
        policy: Its policy, from there too.
        settings: Actors and their CPUs.
        run_kind: ``live``, ``backfill`` or ``rescore``; only live rows count as performance.
        first: Leave earlier event dates alone.
        last: Leave later event dates alone.
        tracking: Where to note what was committed; None notes nothing.

    Returns:
        ``rows_in`` (transactions with features) = ``scored`` + ``already_scored``; ``without_features`` (run
        `fraud featurize` for them), ``decisions`` of this run, ``model_version``, ``run_kind``, ``run_id``,
        ``overtaken`` (how often another run came first), ``scores_version``, ``seconds`` and ``rows_per_s``.

    Raises:
        ConfigError: There is no such kind of run, or ``last`` comes before ``first``.
        TableNotFoundError: Transactions or features are missing.
        ChangedMeanwhileError: Other runs of the same model and kind came first each time.
        NotWrittenError: The disk is full or fails; nothing was committed, or all of it.
    """
    started = time.monotonic()
    if run_kind not in RUN_KINDS:
        raise ConfigError(f"run_kind = {run_kind}", f"is one of {', '.join(RUN_KINDS)}")
    if first and last and last < first:
        raise ConfigError(f"last = {last}", f"is before first = {first}")
    features_version = bundle.feature_set.version
    stamp = Stamp(
        ref.version, run_kind, bundle.digest, policy.version, features_version, datetime.now(UTC), uuid4().hex
    )
    for overtaken in range(_TRIES):
        try:
            counts = _try(lake, ref.name, bundle, policy, stamp, settings=settings, between=(first, last))
        except ChangedMeanwhileError:
            logger.warning("another run scored the same meanwhile: this one looks what is left to do")
        else:
            report = _report(lake, stamp, counts, time.monotonic() - started) | {"overtaken": overtaken}
            if tracking is not None:
                _track(tracking, report, first, last)
            return report
    raise ChangedMeanwhileError(schema.SCORES)


def _try(
    lake: Lake,
    name: str,
    bundle: Bundle,
    policy: Policy,
    stamp: Stamp,
    *,
    settings: ScoreSettings,
    between: tuple[date | None, date | None],
) -> dict[str, int]:
    """Score and commit what is missing in the newest version of the scores; return the counts."""
    version = lake.version(schema.TRANSACTIONS)
    if version is None:
        raise TableNotFoundError(schema.TRANSACTIONS, lake.uri, "run `fraud ingest` first")
    features = lake.parts(bundle.feature_set.table)
    lake.ensure(schema.SCORES, schema.SCORES_SCHEMA)
    onto, _ = lake.committed(schema.SCORES, ())
    scores = lake.parts(schema.SCORES, version=onto)
    days = _days((lake.parts(schema.TRANSACTIONS, version=version), features, scores), *between)
    todo, before = _split(lake, days, stamp)
    logger.info(
        "scoring", extra={"days": len(days), "days_to_do": len(todo), "model_version": stamp.model_version}
    )
    rows = _work(lake, todo, bundle, policy, stamp, settings=settings)
    parts = [
        Part(row["path"], int(row["rows"]), int(row["size"]), row["event_date"])
        for row in rows
        if row["rows"]
    ]
    counts = {name: sum(int(row[name]) for row in rows) for name in COUNTS}
    try:
        done = {"scored": sum(part.rows for part in parts), "already scored": counts["already_scored"]}
        reconcile("score", counts["rows_in"], done)
    except UnreconciledError:
        lake.discard(schema.SCORES, parts)
        raise
    if parts:
        series = f"score:{name}:{stamp.model_version}:{stamp.run_kind}"
        apps = {f"{series}:{part.day.isoformat()}": version for part in parts}
        try:
            lake.commit_beside(schema.SCORES, onto, parts, apps=apps)
        except ChangedMeanwhileError:
            lake.discard(schema.SCORES, parts)
            raise
    counts["rows_in"] += before
    counts["already_scored"] += before
    return counts


def _report(lake: Lake, stamp: Stamp, counts: Mapping[str, int], seconds: float) -> dict[str, Any]:
    if counts["without_features"]:
        logger.warning(
            "transactions without features are not scored, run `fraud featurize` first",
            extra={"without_features": counts["without_features"]},
        )
    scored = sum(counts[decision] for decision in DECISIONS)
    return {
        "rows_in": counts["rows_in"],
        "scored": scored,
        "already_scored": counts["already_scored"],
        "without_features": counts["without_features"],
        "decisions": {decision: counts[decision] for decision in DECISIONS},
        "model_version": stamp.model_version,
        "model_digest": stamp.model_digest,
        "policy_version": stamp.policy_version,
        "run_kind": stamp.run_kind,
        "run_id": stamp.run_id,
        "scores_version": lake.version(schema.SCORES),
        "seconds": round(seconds, 3),
        "rows_per_s": round(scored / seconds, 1),
    }


def _split(lake: Lake, days: Sequence[Day], stamp: Stamp) -> tuple[list[Day], int]:
    """Return the days with something to score, and the rows of the others."""
    with ThreadPoolExecutor(_READERS) as readers:
        finished = list(readers.map(lambda day: _finished(lake, day, stamp), days))
    todo = [day for day, rows in zip(days, finished, strict=True) if rows is None]
    return todo, sum(rows for rows in finished if rows is not None)


def _finished(lake: Lake, day: Day, stamp: Stamp) -> int | None:
    """Return how many rows of a day are scored where none is left to score, else None.

    Ids are unique in each table, scores are of transactions with features, and only transactions that are
    scored have features: equal counts are equal sets. Counting reads two columns of a few distinct values.
    """
    featurized = sum(part.rows for part in day.features)
    done = sum(
        of_run(lake.read_part(schema.SCORES, part, ["model_version", "run_kind"]), stamp).num_rows
        for part in day.scores
    )
    if done != featurized:
        return None
    kinds = [lake.read_part(schema.TRANSACTIONS, part, ["kind"]).column("kind") for part in day.transactions]
    wanted = sum(
        pc.sum(pc.is_in(column, value_set=pa.array(schema.SCORED_KINDS))).as_py() or 0 for column in kinds
    )
    return done if done == wanted else None


def _days(
    sources: tuple[Sequence[Part], Sequence[Part], Sequence[Part]], first: date | None, last: date | None
) -> list[Day]:
    """Bring together the parts of transactions, features and scores that are of one day."""
    found: dict[date, tuple[list[Part], list[Part], list[Part]]] = {}
    for kind, parts in enumerate(sources):
        for part in parts:
            if (first or date.min) <= part.day <= (last or date.max):
                found.setdefault(part.day, ([], [], []))[kind].append(part)
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
    # A full disk must reach the caller as what it is, not wrapped by Ray.
    ray.data.DataContext.get_current().raise_original_map_exception = True
    files = {file.name: file.read_bytes() for file in bundle.path.iterdir()}
    rows = sum(part.rows for day in days for part in day.features)
    actors = min(settings.actors, len(days), 1 + rows // _ROWS_WORTH_AN_ACTOR)
    together = max(1, len(days) // (actors * _TURNS))
    blocks = -(-len(days) // together)
    items = ray.data.from_items([{"day": day} for day in days], override_num_blocks=blocks)
    scored = items.map_batches(
        Scorer,
        fn_constructor_args=(lake, files, policy, stamp),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=settings.cpus_per_actor,
    )
    scored.set_name(f"score_{stamp.model_version}_{stamp.run_kind}")
    taken: list[dict[str, Any]] = scored.take_all()
    return taken


def _track(tracking: Tracking, report: Mapping[str, Any], first: date | None, last: date | None) -> None:
    tags = {"job": "score", **{name: str(report[name]) for name in ("model_version", "run_kind", "run_id")}}
    with tracking.run(f"score {report['run_kind']}", tags=tags) as noted:
        noted.params({"first": first, "last": last, "policy_version": report["policy_version"]})
        noted.metrics({name: report[name] for name in _NOTED} | report["decisions"])
