"""The online state, built from the lake and then fed, gives the features of a recomputation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from factories import label_table, micros, random_history, transaction_table
from naive import Event, naive_window

from fraud.errors import ConfigError, ConflictError, TableNotFoundError
from fraud.features.online import OnlineTransaction
from fraud.features.spec import load, load_text
from fraud.jobs.state import build
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState

START = datetime(2020, 1, 1, tzinfo=UTC)
HANDBOOK = load("handbook", Path(__file__).parents[2] / "configs" / "features")


def online(row: dict) -> OnlineTransaction:
    entities = {name: row[name] for name in ("card_id", "terminal_id")}
    return OnlineTransaction(
        row["transaction_id"],
        micros(row["event_time"]),
        row["kind"],
        row["amount_minor"],
        row["currency"],
        row["amount_base_minor"],
        entities,
        {},
    )


def scored(state: OnlineState, row: dict) -> dict[str, float]:
    seen: list[np.ndarray] = []

    def decide(features: np.ndarray) -> bytes:
        seen.append(features)
        return b"answer"

    state.score(online(row), row["transaction_id"].encode(), decide)
    return dict(zip(HANDBOOK.names, seen[0], strict=True))


def oracle(transactions: pa.Table, labels: pa.Table, row: dict) -> dict[str, float]:
    values: dict[str, float] = {}
    for window in HANDBOOK.windows:
        events = [
            Event(
                other["transaction_id"],
                other[window.window],
                micros(other["event_time"]),
                other["tie"],
                micros(other["known_at"]),
                other["amount_base_minor"],
                tuple(
                    (micros(label["label_time"]), label["source"], label["is_fraud"])
                    for label in labels.to_pylist()
                    if label["transaction_id"] == other["transaction_id"]
                ),
            )
            for other in transactions.to_pylist()
            if other[window.window] == row[window.window]
        ]
        (x,) = [event for event in events if event.id == row["transaction_id"]]
        values |= naive_window(window, events, x)
    return values


def test_state_fed_with_transactions_and_labels_equals_the_oracle(lake: Lake, tmp_path: Path):
    transactions, labels = random_history(400, days=60, seed=9, start=START)
    lake.append("transactions", transactions)
    lake.append("labels", labels)
    split = START + timedelta(days=45)
    report = build(lake, HANDBOOK, tmp_path / "state", as_of=split)
    assert 0 < report["transactions"] < 400
    state = OnlineState(tmp_path / "state", HANDBOOK)
    assert state.known_as_of() == split
    due = sorted(
        (row for row in labels.to_pylist() if row["label_time"] >= split), key=lambda row: row["label_time"]
    )
    later = [row for row in transactions.to_pylist() if row["event_time"] >= split]
    for row in sorted(later, key=lambda row: (row["event_time"], row["tie"])):
        while due and due[0]["label_time"] <= row["event_time"]:
            label = due.pop(0)
            state.label(
                label["transaction_id"], micros(label["label_time"]), label["source"], label["is_fraud"]
            )
        values = scored(state, row)
        for name, value in oracle(transactions, labels, row).items():
            np.testing.assert_equal(values[name], value, err_msg=f"{row['transaction_id']} {name}")
    assert len(later) > 80
    state.close()


@pytest.fixture
def state(lake: Lake, tmp_path: Path) -> OnlineState:
    rows = [{"transaction_id": "old", "event_time": START, "card_id": "c", "terminal_id": "m"}]
    lake.append("transactions", transaction_table(rows))
    lake.append("labels", label_table([]))
    build(lake, HANDBOOK, tmp_path / "state")
    return OnlineState(tmp_path / "state", HANDBOOK)


def transaction(transaction_id: str, hours: int) -> OnlineTransaction:
    at = micros(START + timedelta(hours=hours))
    return OnlineTransaction(
        transaction_id, at, "purchase", 10, "EUR", 10, {"card_id": "c", "terminal_id": "m"}, {}
    )


def test_the_same_transaction_is_recorded_once_and_answered_alike(state: OnlineState):
    first = state.score(transaction("a", 1), b"digest", lambda _: b"one")
    second = state.score(transaction("a", 1), b"digest", lambda _: b"two")
    assert ((first.body, first.fresh), (second.body, second.fresh)) == ((b"one", True), (b"one", False))
    counts = []
    state.score(transaction("b", 2), b"other", lambda features: counts.append(features[3]) or b"")
    assert counts == [3.0]


def test_a_known_id_with_other_content_is_a_conflict(state: OnlineState):
    state.score(transaction("a", 1), b"digest", lambda _: b"one")
    with pytest.raises(ConflictError, match="new id"):
        state.score(transaction("a", 2), b"another", lambda _: b"two")


def test_a_failing_decision_records_nothing(state: OnlineState):
    with pytest.raises(ZeroDivisionError):
        state.score(transaction("a", 1), b"digest", lambda _: b"%d" % (1 // 0))
    assert state.score(transaction("a", 1), b"digest", lambda _: b"one").fresh


def test_label_of_an_unknown_transaction_is_told_apart(state: OnlineState):
    assert state.label("old", micros(START), "api", is_fraud=True)
    assert not state.label("nobody", micros(START), "api", is_fraud=True)


def test_state_that_keeps_too_little_is_refused(state: OnlineState, tmp_path: Path):
    longer = "{window: card_id, stats: [count], spans: [90d]}"
    text = f"{{format_version: 1, name: x, time_zone: UTC, features: [{longer}]}}"
    state.close()
    with pytest.raises(ConfigError, match="fraud state build"):
        OnlineState(tmp_path / "state", load_text(text, "x"))


def test_missing_state_says_how_to_build_it(tmp_path: Path):
    with pytest.raises(ConfigError, match="fraud state build"):
        OnlineState(tmp_path / "nowhere", HANDBOOK)


def test_state_of_an_empty_lake_is_refused(lake: Lake, tmp_path: Path):
    with pytest.raises(TableNotFoundError, match="fraud ingest"):
        build(lake, HANDBOOK, tmp_path / "state")
