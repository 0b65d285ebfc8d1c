"""History scored one by one through the online state and its real store, beside what the batch computed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud.features.online import OnlineTransaction
from fraud.features.spec import FeatureSet, load
from fraud.jobs.state import build
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState

FEATURES = Path(__file__).parents[2] / "configs" / "features"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Transactions = list[OnlineTransaction]


@dataclass(frozen=True)
class Period:
    """Some days of a lake, for a process of its own."""

    lake: str
    features: str
    first: date
    end: date
    state: str


@dataclass(frozen=True)
class Compared:
    """How many transactions and labels were replayed, and the first features that differ."""

    transactions: int
    labels: int
    differences: list[str]


def micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def replay(period: Period) -> Compared:
    """Build the state as of the first day, then score and label in the order in which it all happened."""
    lake, features = Lake(period.lake), load(period.features, FEATURES)
    build(lake, [features], Path(period.state), as_of=midnight(period.first))
    state = OnlineState.open(Path(period.state))
    labels = list(_labels(lake, period))
    due, compared, differing = 0, 0, []
    for number in range((period.end - period.first).days):
        day = (period.first + timedelta(days=number), period.first + timedelta(days=number + 1))
        rows = online_transactions(features, lake.read("transactions", days=day))
        found = np.empty((len(rows), len(features.names)))
        for place, transaction in enumerate(rows):
            while due < len(labels) and labels[due][1] <= transaction.event_time_us:
                assert state.label(*labels[due])
                due += 1
            score(state, features, transaction, found[place])
        differing += differences(lake, features, day, rows, found)
        compared += len(rows)
    state.close()
    shutil.rmtree(period.state)
    return Compared(compared, due, differing[:10])


def score(
    state: OnlineState, features: FeatureSet, transaction: OnlineTransaction, found: np.ndarray
) -> None:
    def decide(values: np.ndarray) -> bytes:
        found[:] = values
        return b"decided"

    assert state.score(features, transaction, transaction.transaction_id.encode(), decide).fresh


def _labels(lake: Lake, period: Period) -> Iterator[tuple[str, int, str, bool]]:
    """Those that become known within the period, in that order."""
    begin, end = micros(midnight(period.first)), micros(midnight(period.end))
    table = lake.read("labels", columns=["transaction_id", "label_time", "source", "is_fraud"])
    for row in table.sort_by("label_time").to_pylist():
        if begin <= micros(row["label_time"]) < end:
            yield row["transaction_id"], micros(row["label_time"]), row["source"], row["is_fraud"]


def online_transactions(features: FeatureSet, table: pa.Table) -> Transactions:
    """Rows of ``transactions`` as requests, in the order in which they see each other."""
    ordered = table.sort_by([("event_time", "ascending"), ("tie", "ascending")])
    return [_online(features, row) for row in ordered.to_pylist()]


def _online(features: FeatureSet, row: dict[str, Any]) -> OnlineTransaction:
    return OnlineTransaction(
        row["transaction_id"],
        micros(row["event_time"]),
        row["kind"],
        row["amount_minor"],
        row["currency"],
        row["amount_base_minor"],
        {name: row[name] for name in features.entities},
        {name: row[name] for name in features.attributes},
    )


def differences(
    lake: Lake, features: FeatureSet, days: tuple[date, date], rows: Transactions, found: np.ndarray
) -> list[str]:
    """The features of some days' transactions that are not equal to the last bit."""
    whole = lake.read(features.table, days=days)
    ids = [row.transaction_id for row in rows]
    table = whole.take(pc.index_in(pa.array(ids), whole.column("transaction_id").combine_chunks()))
    assert table.column("transaction_id").to_pylist() == ids
    differing = []
    for place, name in enumerate(features.names):
        online, batch = found[:, place], table.column(name).to_numpy()
        for row in np.flatnonzero((online != batch) & ~(np.isnan(online) & np.isnan(batch)))[:3]:
            differing.append(f"{name} of {ids[row]}: online {online[row]}, batch {batch[row]}")
    return differing
