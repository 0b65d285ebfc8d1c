"""The online state, built from the lake and then fed, gives the features of a recomputation."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from executors import differences
from factories import label_table, micros, random_history, transaction_table

from fraud.errors import ConfigError, ConflictError, FormatVersionError, SchemaError, TableNotFoundError
from fraud.features.definition import Event, naive_features
from fraud.features.online import OnlineTransaction
from fraud.features.spec import FeatureSet, load, load_text
from fraud.features.track import Track
from fraud.jobs.state import build
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState
from fraud.storage.state_keys import ABOUT
from fraud.storage.state_store import LmdbStore

START = datetime(2020, 1, 1, tzinfo=UTC)
HANDBOOK = load("handbook", Path(__file__).parents[2] / "configs" / "features")
OTHER = load_text(
    """
format_version: 1
name: other
time_zone: UTC
features:
  - {window: card_id, of: amount, stats: [min, max, std], spans: [3d, 12d]}
  - {window: card_id, of: terminal_id, stats: [distinct, first_time], spans: [10d]}
  - {window: terminal_id, stats: [count, seconds_since_last], spans: [2d], where: {status: [declined]}}
  - {window: [card_id, terminal_id], of: fraud, stats: [count, sum], spans: [20d], delay: 2d}
  - {zscore: amount, window: card_id, spans: [9d]}
""",
    "other",
)


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


def scored(state: OnlineState, features: FeatureSet, row: dict) -> dict[str, float]:
    seen: list[np.ndarray] = []

    def decide(found: np.ndarray) -> bytes:
        seen.append(found)
        return b"answer"

    state.score(features, online(row), row["transaction_id"].encode(), decide)
    return dict(zip(features.names, seen[0].tolist(), strict=True))


def events(transactions: pa.Table, labels: pa.Table) -> dict[str, Event]:
    said: dict[str, list[tuple[int, str, bool]]] = {}
    for label in labels.to_pylist():
        found = (micros(label["label_time"]), label["source"], label["is_fraud"])
        said.setdefault(label["transaction_id"], []).append(found)
    return {
        row["transaction_id"]: Event(
            row["transaction_id"],
            None,
            micros(row["event_time"]),
            row["tie"],
            micros(row["known_at"]),
            row["amount_base_minor"],
            tuple(said.get(row["transaction_id"], ())),
            row["kind"],
            row["status"],
            micros(row["status_time"]) if row["status_time"] else 0,
            {name: row[name] for name in ("card_id", "terminal_id")},
        )
        for row in transactions.to_pylist()
    }


def fill(lake: Lake, n: int = 300, seed: int = 9) -> tuple[pa.Table, pa.Table]:
    transactions, labels = random_history(n, days=60, seed=seed, start=START)
    lake.append("transactions", transactions)
    lake.append("labels", labels)
    return transactions, labels


def feed(
    state: OnlineState, sets: Sequence[FeatureSet], known: dict[str, Event], rows: Sequence[dict]
) -> None:
    """Score rows in the order of their events, turn by turn for each set, and compare with the oracle."""
    for number, row in enumerate(rows):
        features = sets[number % len(sets)]
        expected = naive_features(features, list(known.values()), known[row["transaction_id"]])
        assert differences(scored(state, features, row), expected) == {}, row["transaction_id"]


def test_state_fed_with_transactions_and_labels_equals_the_oracle(lake: Lake, tmp_path: Path):
    transactions, labels = fill(lake)
    split = START + timedelta(days=45)
    report = build(lake, [HANDBOOK], tmp_path / "state", as_of=split)
    assert 0 < report["transactions"] < 300
    state, known = OnlineState.open(tmp_path / "state"), events(transactions, labels)
    assert state.known_as_of() == split
    due = sorted(
        (row for row in labels.to_pylist() if row["label_time"] >= split), key=lambda row: row["label_time"]
    )
    later = [row for row in transactions.to_pylist() if row["event_time"] >= split]
    assert len(later) > 50
    for row in sorted(later, key=lambda row: (row["event_time"], row["tie"])):
        while due and due[0]["label_time"] <= row["event_time"]:
            label = due.pop(0)
            state.label(
                label["transaction_id"], micros(label["label_time"]), label["source"], label["is_fraud"]
            )
        feed(state, [HANDBOOK], known, [row])
    state.close()


def after(transactions: pa.Table, at: datetime) -> list[dict]:
    rows = [row for row in transactions.to_pylist() if row["event_time"] >= at]
    return sorted(rows, key=lambda row: (row["event_time"], row["tie"]))


def test_one_state_serves_two_versions_of_the_features(lake: Lake, tmp_path: Path):
    transactions, labels = fill(lake)
    split = START + timedelta(days=50)
    build(lake, [HANDBOOK, OTHER], tmp_path / "state", as_of=split)
    state = OnlineState.open(tmp_path / "state")
    young = label_table([row for row in labels.to_pylist() if row["label_time"] < split])
    feed(state, [HANDBOOK, OTHER], events(transactions, young), after(transactions, split))
    state.close()


def test_a_batch_sees_what_its_transactions_one_by_one_see(lake: Lake, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Track, "chunk_rows", lambda *_: 2)
    transactions, _ = fill(lake)
    split = START + timedelta(days=50)
    rows = after(transactions, split)
    late_and_again = [*rows[5:], *rows[:8]]  # the first ones come late, some of them a second time
    items = [(online(row), row["transaction_id"].encode()) for row in late_and_again]
    found = []
    for name in ("batch", "single"):
        build(lake, [OTHER], tmp_path / name, as_of=split)
        state = OnlineState.open(tmp_path / name)
        found.append(
            state.observe_all(OTHER, items)
            if name == "batch"
            else [state.observe(OTHER, *item) for item in items]
        )
        state.close()
    assert len(found[0]) == len(items) > 20
    np.testing.assert_array_equal(*found)


def test_restored_copy_goes_on_as_the_state_would_have(lake: Lake, tmp_path: Path):
    transactions, labels = fill(lake)
    split = START + timedelta(days=50)
    build(lake, [OTHER], tmp_path / "state", as_of=split)
    young = label_table([row for row in labels.to_pylist() if row["label_time"] < split])
    known, rows = events(transactions, young), after(transactions, split)
    store = LmdbStore(tmp_path / "state")
    feed(OnlineState(store), [OTHER], known, rows[: len(rows) // 2])
    store.copy(tmp_path / "copy")
    store.close()
    shutil.rmtree(tmp_path / "state")
    restored = OnlineState.open(tmp_path / "copy")
    feed(restored, [OTHER], known, rows[len(rows) // 2 :])
    restored.close()


@pytest.fixture
def state(lake: Lake, tmp_path: Path) -> OnlineState:
    rows = [{"transaction_id": "old", "event_time": START, "card_id": "c", "terminal_id": "m"}]
    lake.append("transactions", transaction_table(rows))
    lake.append("labels", label_table([]))
    build(lake, [HANDBOOK], tmp_path / "state")
    return OnlineState.open(tmp_path / "state")


def transaction(transaction_id: str, hours: float, **changes) -> OnlineTransaction:
    at = micros(START + timedelta(hours=hours))
    entities = {"card_id": "c", "terminal_id": "m", **changes}
    return OnlineTransaction(transaction_id, at, "purchase", 10, "EUR", 10, entities, {})


def count_of_card(state: OnlineState, transaction_id: str, hours: float) -> float:
    seen: list[float] = []

    def decide(features: np.ndarray) -> bytes:
        seen.append(features[HANDBOOK.names.index("card_id_count_1d")])
        return b""

    state.score(HANDBOOK, transaction(transaction_id, hours), transaction_id.encode(), decide)
    return seen[0]


def test_the_same_transaction_is_recorded_once_and_answered_alike(state: OnlineState):
    first = state.score(HANDBOOK, transaction("a", 1), b"digest", lambda _: b"one")
    second = state.score(HANDBOOK, transaction("a", 1), b"digest", lambda _: b"two")
    assert ((first.body, first.fresh), (second.body, second.fresh)) == ((b"one", True), (b"one", False))
    assert count_of_card(state, "b", 2) == 3.0


def test_a_known_id_with_other_content_is_a_conflict(state: OnlineState):
    state.score(HANDBOOK, transaction("a", 1), b"digest", lambda _: b"one")
    with pytest.raises(ConflictError, match="new id"):
        state.score(HANDBOOK, transaction("a", 2), b"another", lambda _: b"two")


def test_a_transaction_that_was_ingested_before_is_answered_and_not_recorded_again(state: OnlineState):
    assert state.score(HANDBOOK, transaction("old", 0), b"digest", lambda _: b"one").fresh
    assert not state.score(HANDBOOK, transaction("old", 0), b"digest", lambda _: b"two").fresh
    assert count_of_card(state, "b", 2) == 2.0


def test_an_ingested_id_with_another_time_or_terminal_is_a_conflict(state: OnlineState):
    for other in (transaction("old", 1), transaction("old", 0, terminal_id="n")):
        with pytest.raises(ConflictError):
            state.score(HANDBOOK, other, b"digest", lambda _: b"one")


def test_a_failing_decision_gives_no_answer_and_may_be_asked_for_again(state: OnlineState):
    with pytest.raises(ZeroDivisionError):
        state.score(HANDBOOK, transaction("a", 1), b"digest", lambda _: b"%d" % (1 // 0))
    assert count_of_card(state, "b", 2) == 3.0
    seen: list[np.ndarray] = []
    answer = state.score(HANDBOOK, transaction("a", 1), b"digest", lambda row: seen.append(row) or b"one")
    assert (answer.body, answer.fresh) == (b"one", True)
    assert seen[0][HANDBOOK.names.index("card_id_count_1d")] == 2.0


def test_the_first_of_two_decisions_is_the_answer_of_both(state: OnlineState):
    def decide(_: np.ndarray) -> bytes:
        meanwhile = state.score(HANDBOOK, transaction("a", 1), b"digest", lambda _: b"first")
        assert meanwhile.fresh
        return b"second"

    answer = state.score(HANDBOOK, transaction("a", 1), b"digest", decide)
    assert (answer.body, answer.fresh) == (b"first", False)


def test_transactions_observed_together_see_those_before_them(state: OnlineState):
    items = [(transaction(f"b{hour}", hour), b"%d" % hour) for hour in range(1, 4)]
    found = state.observe_all(HANDBOOK, [*items, (transaction("b1", 2), b"other"), items[0]])
    count = HANDBOOK.names.index("card_id_count_1d")
    assert [features[count] for features in (*found[:3], found[4])] == [2, 3, 4, 2]
    assert isinstance(found[3], ConflictError)
    kept = state.keep([(item, b"answer") for item, _ in items])
    assert kept == [b"answer"] * 3
    assert state.observe_all(HANDBOOK, items) == kept
    assert state.keep([(items[0][0], b"later")]) == [b"answer"]


def test_an_event_counts_and_is_recorded_once(state: OnlineState):
    refund = transaction("r", 1)
    assert [state.record(refund, b"digest") for _ in range(2)] == [True, False]
    with pytest.raises(ConflictError):
        state.record(refund, b"another")
    assert count_of_card(state, "b", 2) == 3.0


def test_a_stored_answer_is_read_by_its_id(state: OnlineState):
    state.score(HANDBOOK, transaction("a", 1), b"digest", lambda _: b"one")
    assert (state.answer("a"), state.answer("old"), state.answer("nobody")) == (b"one", None, None)


def test_peeking_gives_what_was_observed_while_another_has_the_turn(state: OnlineState):
    observed = state.observe(HANDBOOK, transaction("a", 1), b"digest")
    state.observe(HANDBOOK, transaction("later", 2), b"digest")
    done: list[np.ndarray] = []

    async def inside() -> None:
        async with state.turn(time.monotonic() + 1):
            reader = threading.Thread(target=lambda: done.append(state.peek(HANDBOOK, transaction("a", 1))))
            reader.start()
            reader.join(5)

    asyncio.run(inside())
    np.testing.assert_array_equal(done[0], observed)


def test_a_late_transaction_counts_for_later_ones_only(state: OnlineState):
    assert [count_of_card(state, name, hours) for name, hours in (("a", 5), ("b", 3), ("c", 6))] == [2, 2, 4]


def test_label_of_an_unknown_transaction_is_told_apart(state: OnlineState):
    assert state.label("old", micros(START), "api", is_fraud=True)
    assert not state.label("nobody", micros(START), "api", is_fraud=True)


def test_state_that_keeps_too_little_is_refused(state: OnlineState):
    longer = "{window: card_id, stats: [count], spans: [90d]}"
    text = f"{{format_version: 1, name: x, time_zone: UTC, features: [{longer}]}}"
    with pytest.raises(ConfigError, match="fraud state build"):
        state.check(load_text(text, "x"))


def test_shorter_windows_of_the_same_columns_are_covered(state: OnlineState):
    shorter = "{window: terminal_id, of: fraud, stats: [sum, seconds_since_last], spans: [3d], delay: 1d}"
    state.check(load_text(f"{{format_version: 1, name: x, time_zone: UTC, features: [{shorter}]}}", "x"))


def test_missing_state_says_how_to_build_it(tmp_path: Path):
    with pytest.raises(ConfigError, match="fraud state build"):
        OnlineState.open(tmp_path / "nowhere")


def test_state_of_another_format_is_refused(state: OnlineState):
    state._store.transact(lambda pages: pages.put(ABOUT, b'{"format_version": 1}'))
    with pytest.raises(FormatVersionError):
        OnlineState(state._store)


def test_state_of_an_empty_lake_is_refused(lake: Lake, tmp_path: Path):
    with pytest.raises(TableNotFoundError, match="fraud ingest"):
        build(lake, [HANDBOOK], tmp_path / "state")


def test_state_of_a_lake_without_a_windows_column_is_refused(lake: Lake, tmp_path: Path):
    lake.append("transactions", transaction_table([{"transaction_id": "a", "event_time": START}]))
    text = "{window: card_id, of: distance, stats: [mean], spans: [1d]}"
    with pytest.raises(SchemaError, match="distance"):
        build(
            lake,
            [load_text(f"{{format_version: 1, name: x, time_zone: UTC, features: [{text}]}}", "x")],
            tmp_path / "state",
        )
