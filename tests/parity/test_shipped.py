"""What was served, shipped and computed again from the lake is the same, to the last bit."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from factories import label_table, random_history, transaction_table
from factories_serve import FEATURE_SET, make_served, running_client

from fraud.features.online import OnlineTransaction
from fraud.jobs import featurize
from fraud.jobs.decide_again import differences
from fraud.jobs.ship import Shipper
from fraud.jobs.state import build
from fraud.jobs.state_follow import follow
from fraud.jobs.state_verify import verify
from fraud.model import bundle
from fraud.settings import FeatureSettings
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState
from serve_app.places import Places

START = datetime(2026, 1, 1, tzinfo=UTC)
SPLIT = START + timedelta(days=20)
TYPES = {"distance_km": pa.float64(), "channel": pa.string()}


def history(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Transactions with attributes in the order in which they happened, and labels."""
    rng = np.random.default_rng(seed)
    transactions, labels = random_history(300, days=30, seed=seed, start=START)
    rows = transactions.to_pylist()
    for row in rows:
        row["distance_km"] = None if rng.random() < 0.1 else round(float(rng.uniform(0, 90)), 3)
        row["channel"] = str(rng.choice(["web", "shop", "elsewhere"]))
        row["kind"] = "refund" if rng.random() < 0.1 else "purchase"
        del row["ingest_id"], row["event_date"]
    scored = {row["transaction_id"] for row in rows if row["kind"] == "purchase"}
    said = [label for label in labels.to_pylist() if label["transaction_id"] in scored]
    return sorted(rows, key=lambda row: (row["event_time"], row["tie"])), said


def body(row: dict[str, Any]) -> dict[str, Any]:
    names = ("transaction_id", "kind", "amount_minor", "currency", "card_id", "terminal_id")
    attributes = {name: row[name] for name in TYPES}
    return {
        **{name: row[name] for name in names},
        "event_time": row["event_time"].isoformat(),
        "attributes": attributes,
    }


def online(row: dict[str, Any]) -> OnlineTransaction:
    at = round(row["event_time"].timestamp() * 1_000_000)
    core = {
        name: row[name]
        for name in ("transaction_id", "kind", "amount_minor", "currency", "amount_base_minor")
    }
    entities, attributes = (
        {name: row[name] for name in names} for names in (("card_id", "terminal_id"), TYPES)
    )
    return OnlineTransaction(event_time_us=at, entities=entities, attributes=attributes, **core)


async def serve(places: Places, facts: list[tuple[str, dict[str, Any]]]) -> None:
    async with running_client(places) as (client, _):
        for path, said in facts:
            answer = await client.post(f"/v1/{path}", json=said)
            assert answer.is_success, answer.text


def facts_after(rows: list[dict], labels: list[dict], split: datetime) -> list[tuple[str, dict[str, Any]]]:
    """What is posted, in the order in which it was known."""
    posted = [
        (row["event_time"], "score" if row["kind"] == "purchase" else "events", body(row))
        for row in rows
        if row["event_time"] >= split
    ]
    for label in labels:
        if label["label_time"] >= split:
            said = {name: label[name] for name in ("transaction_id", "is_fraud", "source")}
            at = label["label_time"]
            posted.append((at, "labels", {**said, "label_time": at.isoformat()}))
    return [(path, said) for _, path, said in sorted(posted, key=_when)]


def _when(each: tuple[datetime, str, dict[str, Any]]) -> tuple[datetime, bool]:
    """A label of an instant is known to the transactions of that instant."""
    return each[0], each[1] != "labels"


@pytest.mark.parametrize("seed", range(4))
def test_what_is_computed_from_shipped_rows_is_what_was_served(lake: Lake, tmp_path: Path, seed: int):
    rows, labels = history(seed)
    before = [row for row in rows if row["event_time"] < SPLIT]
    lake.append("transactions", transaction_table(before, attributes=TYPES))
    early = [label for label in labels if label["label_time"] < SPLIT]
    lake.append("labels", label_table(early))
    build(lake, [FEATURE_SET], tmp_path / "state", as_of=SPLIT)
    places = Places(make_served(tmp_path), tmp_path / "state", tmp_path / "journal")
    asyncio.run(serve(places, facts_after(rows, labels, SPLIT)))
    unseen = online({**rows[-1], "transaction_id": "unseen", "tie": 0})
    state = OnlineState.open(tmp_path / "state")
    expected = state.peek(FEATURE_SET, unseen)
    state.close()

    report = Shipper(lake, places.journal).run()
    scored = [row for row in rows if row["event_time"] >= SPLIT and row["kind"] == "purchase"]
    assert (report["decisions"], report["transactions"]) == (len(scored), len(rows) - len(before))
    assert (report["labels"], report["waiting"]) == (len(labels) - len(early), 0)

    followed = follow(lake, tmp_path / "state")
    assert followed["transactions"] == 0
    assert followed["known"] > 50
    verify(lake, tmp_path / "state")
    state = OnlineState.open(tmp_path / "state")
    assert np.array_equal(state.peek(FEATURE_SET, unseen), expected, equal_nan=True)
    state.close()

    served = lake.read("decisions").to_pylist()
    computed = features(lake)
    for decision in served:
        assert computed[decision["transaction_id"]] == decision["features"], decision["transaction_id"]

    (loaded,) = {decision["model_digest"] for decision in served}
    model = bundle.load(tmp_path / "bundle-1", digest=loaded)
    assert {decision["decision"] for decision in served} > {"approve"}
    for decision in served:
        assert differences(decision, model) == {}


def test_a_late_transaction_leaves_what_was_computed_before_as_it_was(lake: Lake, tmp_path: Path):
    rows, labels = history(3)
    of_last = {name: rows[-1][name] for name in ("card_id", "terminal_id")}
    late = {**rows.pop(len(rows) - 4), "kind": "purchase", **of_last}
    lake.append("transactions", transaction_table(rows, attributes=TYPES))
    lake.append("labels", label_table(labels))
    before = features(lake)
    build(lake, [FEATURE_SET], tmp_path / "state")
    places = Places(make_served(tmp_path), tmp_path / "state", tmp_path / "journal")
    asyncio.run(serve(places, [("score", body(late))]))
    assert Shipper(lake, places.journal).run()["transactions"] == 1
    after = features(lake)
    assert after.pop(late["transaction_id"]) == lake.read("decisions").column("features").to_pylist()[0]
    assert after == before


def features(lake: Lake) -> dict[str, list[float | None]]:
    """Featurize, and return the features of every transaction."""
    featurize.run(lake, FEATURE_SET, FeatureSettings())
    names = FEATURE_SET.names
    return {
        row["transaction_id"]: [None if np.isnan(row[name]) else row[name] for name in names]
        for row in lake.read(FEATURE_SET.table).to_pylist()
    }
