"""A made-up history without terminals, and its replay while the lake grows day by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from replay import (
    FEATURES,
    Compared,
    Transactions,
    differences,
    micros,
    midnight,
    online_transactions,
    score,
)

from fraud import schema
from fraud.features.spec import FeatureSet, load
from fraud.jobs import featurize
from fraud.jobs.state import build
from fraud.jobs.state_follow import follow
from fraud.mapping.ids import tie
from fraud.settings import FeatureSettings
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState

FIRST = date(2020, 1, 1)
DAYS = 120
DAY_US = 86_400_000_000
STEP_DAYS = 1
"""How often the lake grows: the state forgets what no window of the newest day reaches."""
IDS = {
    "account_id": 2_000,
    "card_id": 3_000,
    "device_id": 2_500,
    "ip": 1_500,
    "email_hash": 2_200,
    "shipping_hash": 2_500,
}
NO_DEVICE = 0.6
HOT_IP = 0.15
LATE = 0.05
FRAUD = 0.03


@dataclass(frozen=True)
class History:
    """All transactions and labels, in any order."""

    transactions: pa.Table
    labels: pa.Table


def history(rows: int, seed: int) -> History:
    """Made-up transactions: late ones, refunds, outcomes that come later, labels that are withdrawn."""
    rng = np.random.default_rng(seed)
    # Whole minutes, so that many transactions of an entity share an instant.
    time = micros(midnight(FIRST)) + rng.integers(0, DAYS * 1440, rows) * 60_000_000
    late = np.where(rng.random(rows) < LATE, rng.integers(1, 5 * DAY_US, rows), 0)
    status = rng.choice([None, "approved", "declined"], rows, p=[0.2, 0.7, 0.1])
    told = time + np.where(rng.random(rows) < 0.7, rng.integers(0, 3_600_000_000, rows), 2 * DAY_US)
    ids = pa.array([f"{seed}-{number}" for number in range(rows)])
    amount = rng.integers(100, 50_000, rows)
    columns = {
        "transaction_id": ids,
        "event_time": pa.array(time, schema.TIME),
        "known_at": pa.array(time + late, schema.TIME),
        "kind": pa.array(rng.choice(["purchase", "verification", "refund"], rows, p=[0.85, 0.05, 0.1])),
        "status": pa.array(status, pa.string()),
        "status_time": pa.array(told, schema.TIME, mask=np.equal(status, None)),
        "amount_minor": pa.array(amount),
        "currency": pa.array(["EUR"] * rows),
        "amount_base_minor": pa.array(amount),
        "tie": pa.array(tie(pa.chunked_array([ids]))),
        **{name: _ids(rng, name, rows, count) for name, count in IDS.items()},
        "ip_distance_km": pa.array(rng.lognormal(3, 2, rows), mask=rng.random(rows) < 0.3),
        "channel": pa.array(rng.choice(["app", "web", "phone", "fax"], rows), mask=rng.random(rows) < 0.1),
        "ingest_id": pa.array(["drill"] * rows),
        "event_date": pa.array(time // DAY_US, pa.int32()).cast(pa.date32()),
    }
    attributes = {"ip_distance_km": pa.float64(), "channel": pa.string()}
    transactions = pa.table(columns).select(schema.transactions(IDS, attributes).names)
    transactions = transactions.cast(schema.transactions(IDS, attributes))
    return History(transactions, _labels(rng, transactions))


def _ids(rng: np.random.Generator, name: str, rows: int, count: int) -> pa.Array:
    number = rng.integers(0, count, rows)
    if name == "ip":
        number[rng.random(rows) < HOT_IP] = 0
    missing = rng.random(rows) < (NO_DEVICE if name == "device_id" else 0.05)
    return pa.array([f"{name}-{each}" for each in number], mask=missing)


def _labels(rng: np.random.Generator, transactions: pa.Table) -> pa.Table:
    """A fraud is known after a day or up to 50; a quarter of them are withdrawn, some of those said again."""
    frauds = transactions.filter(pa.array(rng.random(transactions.num_rows) < FRAUD))
    n = frauds.num_rows
    said = frauds.column("event_time").cast(pa.int64()).to_numpy() + rng.integers(DAY_US, 50 * DAY_US, n)
    withdrawn = np.flatnonzero(rng.random(n) < 0.25)
    again = withdrawn[::3]
    tables = [
        _label(frauds, np.arange(n), said, source="bank", is_fraud=True),
        _label(frauds, withdrawn, said[withdrawn] + 5 * DAY_US, source="api", is_fraud=False),
        _label(frauds, again, said[again] + 9 * DAY_US, source="bank", is_fraud=True),
    ]
    return pa.concat_tables(tables)


def _label(frauds: pa.Table, rows: np.ndarray, at: np.ndarray, *, source: str, is_fraud: bool) -> pa.Table:
    of = frauds.take(pa.array(rows))
    n = of.num_rows
    kind = schema.labels(IDS)
    columns = {
        "label_time": pa.array(at, schema.TIME),
        "source": pa.array([source] * n),
        "is_fraud": pa.array([is_fraud] * n),
        "fraud_type": pa.nulls(n, pa.string()),
    }
    return pa.table(
        [columns[name] if name in columns else of.column(name) for name in kind.names], schema=kind
    )


@dataclass(frozen=True)
class Growing:
    """A history for a process of its own, and where its lake and its state grow."""

    rows: int
    seed: int
    folder: str


def replay(growing: Growing) -> Compared:
    """Ingest and score step by step, then featurize the whole lake and compare.

    What is known in a step is in the lake and followed before that step is scored, though nothing sees it
    before its time; but for the transactions that come over the endpoint first: those follow with the next.
    """
    whole, features = history(growing.rows, growing.seed), load("card_not_present", FEATURES)
    lake, path = Lake(str(Path(growing.folder) / "lake")), Path(growing.folder) / "state"
    known, said = _step(whole.transactions.column("known_at")), _step(whole.labels.column("label_time"))
    asked, live = _on_time(whole.transactions), _live(whole.transactions)
    scored: list[tuple[date, Transactions, np.ndarray]] = []
    for step in range(DAYS // STEP_DAYS):
        now = known == step
        lake.append(schema.TRANSACTIONS, whole.transactions.filter(pa.array(now & ~live)))
        lake.append(schema.LABELS, whole.labels.filter(pa.array(said == step)))
        if step == 0:
            build(lake, [features], path, as_of=midnight(FIRST))
        follow(lake, path)
        first = FIRST + timedelta(days=step * STEP_DAYS)
        scored.append((first, *_scored(path, features, whole.transactions.filter(pa.array(now & asked)))))
        lake.append(schema.TRANSACTIONS, whole.transactions.filter(pa.array(now & live)))
    featurize.run(lake, features, FeatureSettings())
    found = [
        each
        for first, rows, values in scored
        for each in differences(lake, features, (first, first + timedelta(days=STEP_DAYS)), rows, values)
    ]
    return Compared(sum(len(rows) for _, rows, _ in scored), whole.labels.num_rows, found[:10])


def _scored(path: Path, features: FeatureSet, table: pa.Table) -> tuple[Transactions, np.ndarray]:
    state = OnlineState.open(path)
    rows = online_transactions(features, table)
    found = np.empty((len(rows), len(features.names)))
    for place, transaction in enumerate(rows):
        score(state, features, transaction, found[place])
    state.close()
    return rows, found


def _on_time(transactions: pa.Table) -> np.ndarray:
    """Scored as they happen."""
    known = pc.equal(transactions.column("known_at"), transactions.column("event_time"))
    scored = pc.is_in(transactions.column("kind"), value_set=pa.array(schema.SCORED_KINDS))
    return pc.and_(known, scored).to_numpy()


def _live(transactions: pa.Table) -> np.ndarray:
    """Half of those of which, within their step, nothing need be known but what the request says."""
    told = _step(transactions.column("status_time").fill_null(pa.scalar(2**60, schema.TIME)))
    plain = _on_time(transactions) & (told > _step(transactions.column("event_time")))
    return plain & (transactions.column("tie").to_numpy() % 2 == 0)


def _step(times: pa.ChunkedArray) -> np.ndarray:
    return (times.cast(pa.int64()).to_numpy() - micros(midnight(FIRST))) // (STEP_DAYS * DAY_US)
