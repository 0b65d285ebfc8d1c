"""Verify the features of some days against three other ways to them, none of which can share a fault.

* Replay: an online state is built as of the day's first instant; the day's transactions and labels are then
  presented to it in the order in which they were known, as the endpoint would.
* No future: a lake without anything known after the day is featurized; its features must be the same.
* Definition: some rows are computed by ``fraud.features.definition``, which is written as plainly as it is
  stated.

And ``history_complete`` must say whether the lake reaches back as far as the windows do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud import schema
from fraud.errors import NotEnoughDataError, VerificationError
from fraud.features.definition import Event, naive_features
from fraud.features.facts import Floats, Ints
from fraud.features.online import OnlineTransaction
from fraud.features.spec import FeatureSet
from fraud.jobs import featurize, proof, state, state_follow
from fraud.jobs.entity_numbers import integers
from fraud.jobs.feature_plan import APP, LABELS_APP
from fraud.settings import FeatureSettings
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState

logger = logging.getLogger(__name__)

_DEFINED_ROWS: Final = 100
"""Rows of a day that are computed by the definition, which takes time."""
_SHOWN: Final = 5

Features = dict[str, Floats]
"""Per transaction id, in the order of the feature set's names."""


@dataclass
class Findings:
    """What was compared, and what differs: (how, transaction id, feature, found, expected)."""

    rows: dict[str, int] = field(default_factory=dict)
    differences: dict[str, int] = field(default_factory=dict)
    examples: list[tuple[str, str, str, float, float]] = field(default_factory=list)

    @property
    def counts(self) -> str:
        """How many differences each way found."""
        return ", ".join(f"{count} by {how}" for how, count in self.differences.items() if count)

    @property
    def shown(self) -> list[str]:
        """The first differences of each way."""
        return [
            f"{how}: {name} of {transaction_id} is {expected!r} in the table, {found!r} otherwise"
            for how, transaction_id, name, found, expected in self.examples[:_SHOWN]
        ]

    def compare(self, how: str, names: Sequence[str], found: Features, expected: Features) -> None:
        """Compare with ``==``; a missing value equals a missing value."""
        self.rows[how] = self.rows.get(how, 0) + len(expected)
        self.differences.setdefault(how, 0)
        for transaction_id, wanted in expected.items():
            given = found.get(transaction_id, np.full(len(wanted), -np.inf))
            differs = (given != wanted) & ~(np.isnan(given) & np.isnan(wanted))
            for place in np.flatnonzero(differs).tolist():
                self.differences[how] += 1
                self.examples.append(
                    (how, transaction_id, names[place], float(given[place]), float(wanted[place]))
                )


def run(lake: Lake, feature_set: FeatureSet, *, days: int, seed: int = 0) -> dict[str, Any]:
    """Verify the features of some days, the newest one and others at random; what is found right is recorded.

    Args:
        lake: Featurized with this set.
        feature_set: The set.
        days: How many.
        seed: Of the choice.

    Returns:
        ``features_version``, ``days``, ``rows`` and ``differences`` per way, ``seconds``.

    Raises:
        VerificationError: Anything differs; it names the first differences.
        NotEnoughDataError: There are no features.
    """
    started = time.monotonic()
    versions, table_version = _versions(lake, feature_set), lake.version(feature_set.table)
    chosen = _days(lake, feature_set, days, seed)
    findings = Findings()
    with TemporaryDirectory(prefix="verify-") as folder:
        for number, day in enumerate(chosen):
            logger.info("verifying", extra={"day": day.isoformat(), "done": number, "of": len(chosen)})
            _Day(lake, feature_set, versions, day, Path(folder) / str(number)).verify(findings)
    if sum(findings.differences.values()):
        raise VerificationError(feature_set.table, findings.counts, findings.shown)
    proof.record(lake, feature_set, table_version, days=chosen, rows=sum(findings.rows.values()))
    return {
        "features_version": feature_set.version,
        "days": [day.isoformat() for day in chosen],
        "rows": findings.rows,
        "differences": findings.differences,
        "seconds": round(time.monotonic() - started, 3),
    }


def _versions(lake: Lake, feature_set: FeatureSet) -> dict[str, int | None]:
    """The versions of the tables that the features were computed from."""
    transactions = lake.app_version(feature_set.table, APP)
    if transactions is None:
        raise NotEnoughDataError(f"there are no features of {feature_set.name}: run `fraud featurize` first")
    labels = lake.app_version(feature_set.table, LABELS_APP) or 0
    return {schema.TRANSACTIONS: transactions, schema.LABELS: labels - 1 if labels else None}


def _days(lake: Lake, feature_set: FeatureSet, count: int, seed: int) -> list[date]:
    found = sorted({part.event_date for part in lake.parts(feature_set.table) if part.event_date})
    others = np.random.default_rng(seed).permutation(len(found) - 1)[: count - 1]
    return sorted([found[-1], *(found[place] for place in others)])


class _Day:
    """One day to verify, with the facts that its windows can reach."""

    def __init__(
        self,
        lake: Lake,
        feature_set: FeatureSet,
        versions: Mapping[str, int | None],
        day: date,
        folder: Path,
    ) -> None:
        self.feature_set = feature_set
        self.folder = folder
        self.begin = datetime.combine(day, datetime.min.time(), UTC)
        self.end = self.begin + timedelta(days=1)
        reach = (self.begin - feature_set.history).date()
        self.transactions = lake.read(
            schema.TRANSACTIONS, version=versions[schema.TRANSACTIONS], days=(reach, self.end.date())
        )
        self.labels = _labels(lake, versions[schema.LABELS], feature_set, reach)
        table = lake.read(feature_set.table, days=(day, self.end.date()))
        ids = table.column("transaction_id").to_pylist()
        self.expected = _features(table, feature_set)
        self.times = dict(zip(ids, integers(table, "event_time").tolist(), strict=True))
        marks = table.column("history_complete").to_numpy().astype(float)
        self.marks = dict(zip(ids, marks.reshape(-1, 1), strict=True))
        self.chosen = sorted(ids)[:: max(1, len(ids) // _DEFINED_ROWS)][:_DEFINED_ROWS]
        last = self.end.date() - feature_set.history + timedelta(days=1)
        self.facts = _facts(lake, versions[schema.TRANSACTIONS], last)

    def verify(self, findings: Findings) -> None:
        """Compare each way with the table."""
        names, expected = self.feature_set.names, self.expected
        past = self._without_future()
        findings.compare("no_future", names, past, {key: expected[key] for key in past})
        findings.compare("replay", names, self._replayed(), expected)
        chosen = {key: expected[key] for key in self.chosen}
        findings.compare("definition", names, self._defined(), chosen)
        marks = {key: self.marks[key] for key in self.chosen}
        findings.compare("history_complete", ["history_complete"], self._marked(), marks)

    def _without_future(self) -> Features:
        """Features from a lake of what was known by the day's end; rows known later are not compared."""
        past = Lake(str(self.folder / "past"))
        known = self._known_by_end("known_at", self.transactions)
        past.append(schema.TRANSACTIONS, self.transactions.filter(known))
        past.append(schema.LABELS, self.labels.filter(self._known_by_end("label_time", self.labels)))
        featurize.run(past, self.feature_set, FeatureSettings())
        day = (self.begin.date(), self.end.date())
        return _features(past.read(self.feature_set.table, days=day), self.feature_set)

    def _known_by_end(self, column: str, table: pa.Table) -> pa.ChunkedArray:
        return pc.less(table.column(column), pa.scalar(self.end, schema.TIME))

    def _replayed(self) -> Features:
        """The day presented to an online state in the order in which it was known."""
        before, day = self._halves()
        history = Lake(str(self.folder / "history"))
        history.append(schema.TRANSACTIONS, before)
        history.append(schema.LABELS, self.labels.filter(self._known_by_end("label_time", self.labels)))
        place = self.folder / "state"
        state.build(history, [self.feature_set], place)
        # What no request can say comes as a file: late rows, other kinds, a status that was known later.
        history.append(schema.TRANSACTIONS, day.filter(pc.invert(_as_requested(day))))
        state_follow.follow(history, place)
        online = OnlineState.open(place)
        found = {row["transaction_id"]: _score(online, self.feature_set, row) for row in _scored(day)}
        online.close()
        return found

    def _halves(self) -> tuple[pa.Table, pa.Table]:
        """Before the day, and the day."""
        is_before = pc.less(self.transactions.column("event_time"), pa.scalar(self.begin, schema.TIME))
        return self.transactions.filter(is_before), self.transactions.filter(pc.invert(is_before))

    def _defined(self) -> Features:
        """Some rows of the day as they are defined."""
        events, near = _events(self.transactions, self.labels, self.feature_set)
        found = {}
        for transaction_id in self.chosen:
            x = events[transaction_id]
            facts = {
                each.id: each
                for column in self.feature_set.entities
                for each in near.get((column, x.text(column)), ())
            }
            values = naive_features(self.feature_set, list(facts.values()), x)
            found[transaction_id] = np.array(list(values.values()))
        return found

    def _marked(self) -> Features:
        """Whether a fact that was known is as old as the windows of the chosen rows reach back."""
        reach = round(self.feature_set.history.total_seconds() * 1_000_000)
        found = {}
        for transaction_id in self.chosen:
            t = self.times[transaction_id]
            is_old = (self.facts[0] <= t - reach) & (self.facts[1] <= t)
            found[transaction_id] = np.array([float(is_old.any() or not reach)])
        return found


def _as_requested(day: pa.Table) -> pa.ChunkedArray:
    """The rows that reach the endpoint: scored ones, known at once, nothing said of their status later."""
    at_once = pc.equal(day.column("known_at"), day.column("event_time"))
    scored = pc.is_in(day.column("kind"), value_set=pa.array(schema.SCORED_KINDS))
    return pc.and_(pc.and_(at_once, scored), pc.is_null(day.column("status")))


def _score(online: OnlineState, feature_set: FeatureSet, row: Mapping[str, Any]) -> Floats:
    """The features that the endpoint would use; the transaction is recorded."""
    transaction = OnlineTransaction(
        transaction_id=row["transaction_id"],
        event_time_us=row["event_time"],
        kind=row["kind"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        amount_base_minor=row["amount_base_minor"],
        entities={name: row[name] for name in feature_set.entities},
        attributes={name: row[name] for name in feature_set.attributes},
    )
    features: list[Floats] = []

    def decide(found: Floats) -> bytes:
        features.append(found)
        return b"verified"

    online.score(feature_set, transaction, b"", decide)
    return features[0]


def _scored(day: pa.Table) -> list[dict[str, Any]]:
    """The rows that have features, in the order in which they were known; times as microseconds."""
    rows = _plain(day.filter(pc.is_in(day.column("kind"), value_set=pa.array(schema.SCORED_KINDS))))
    return sorted(rows, key=lambda row: (row["known_at"], row["event_time"], row["tie"]))


def _plain(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as dictionaries, times as microseconds."""
    for place, name in enumerate(table.column_names):
        if pa.types.is_timestamp(table.schema.field(name).type):
            table = table.set_column(place, name, table.column(name).cast(pa.int64()))
    return list(table.to_pylist())


def _features(table: pa.Table, feature_set: FeatureSet) -> Features:
    columns = [np.asarray(table.column(name).to_numpy(), np.float64) for name in feature_set.names]
    return dict(zip(table.column("transaction_id").to_pylist(), np.stack(columns, axis=1), strict=True))


def _labels(lake: Lake, version: int | None, feature_set: FeatureSet, reach: date) -> pa.Table:
    """The labels of transactions that a window can reach."""
    if version is None:
        return schema.labels(feature_set.entities).empty_table()
    table = lake.read(schema.LABELS, version=version)
    first = pa.scalar(datetime.combine(reach, datetime.min.time(), UTC), schema.TIME)
    return table.filter(pc.greater_equal(table.column("event_time"), first))


def _facts(lake: Lake, version: int | None, until: date) -> tuple[Ints, Ints]:
    """Event time and time of knowledge of every transaction before a day, microseconds."""
    columns = ["event_time", "known_at"]
    table = lake.read(schema.TRANSACTIONS, version=version, columns=columns, days=(date.min, until))
    return integers(table, "event_time"), integers(table, "known_at")


def _events(
    transactions: pa.Table, labels: pa.Table, feature_set: FeatureSet
) -> tuple[dict[str, Event], dict[tuple[str, str | None], list[Event]]]:
    """The transactions as the definition reads them: by id, and by entity column and id."""
    said: dict[str, list[tuple[int, str, bool]]] = {}
    for row in _plain(labels.select(["transaction_id", "label_time", "source", "is_fraud"])):
        said.setdefault(row["transaction_id"], []).append((row["label_time"], row["source"], row["is_fraud"]))
    events: dict[str, Event] = {}
    near: dict[tuple[str, str | None], list[Event]] = {}
    for row in _plain(transactions):
        event = Event(
            id=row["transaction_id"],
            entity=None,
            time=row["event_time"],
            tie=row["tie"],
            known_at=row["known_at"],
            amount=row["amount_base_minor"],
            labels=tuple(said.get(row["transaction_id"], ())),
            kind=row["kind"],
            status=row["status"],
            status_time=row["status_time"] or 0,
            entities={name: row[name] for name in feature_set.entities},
            numbers={name: row[name] for name in feature_set.numbers},
            texts={name: row[name] for name in feature_set.texts},
        )
        events[event.id] = event
        for column in feature_set.entities:
            near.setdefault((column, row[column]), []).append(event)
    return events, near
