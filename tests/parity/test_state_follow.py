"""A state that follows the lake holds what a state built at once would, each fact once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from factories import label_table, micros, random_history, transaction_table
from test_state import HANDBOOK, OTHER, after, count_of_card, events, feed, online, transaction

from fraud.errors import ConfigError, StateError
from fraud.features import track
from fraud.features.track import Track
from fraud.jobs.state import build
from fraud.jobs.state_follow import follow
from fraud.jobs.state_verify import verify
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState

START = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def small_chunks(monkeypatch) -> None:
    monkeypatch.setattr(track, "CHUNK_BYTES", 120)


def two_batches(seed: int = 3) -> list[tuple[pa.Table, pa.Table]]:
    """A history, and what came after it: later rows, rows that came late, labels of both."""
    transactions, labels = random_history(260, days=60, seed=seed, start=START)
    rng = np.random.default_rng(seed)
    rows = transactions.to_pylist()
    second = [row["event_time"] > START + 50 * DAY or rng.random() < 0.1 for row in rows]
    for row, is_late in zip(rows, second, strict=True):
        row["status"] = "declined" if rng.random() < 0.3 else None
        if is_late:
            row["known_at"] = max(row["event_time"], START + 52 * DAY)
    batches = []
    said = [(label, rng.random() < 0.5) for label in labels.to_pylist()]
    for number in (False, True):
        own = [row for row, is_second in zip(rows, second, strict=True) if is_second == number]
        young = [label for label, is_second in said if is_second == number]
        batches.append((transaction_table(own), label_table(young)))
    return batches


def append(lake: Lake, batch: tuple[pa.Table, pa.Table]) -> None:
    lake.append("transactions", batch[0])
    lake.append("labels", batch[1])


def both(batches: list[tuple[pa.Table, pa.Table]]) -> tuple[pa.Table, pa.Table]:
    return pa.concat_tables([batch[0] for batch in batches]), pa.concat_tables(
        [batch[1] for batch in batches]
    )


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("seed", range(4))
def test_followed_state_verifies_and_equals_the_oracle(lake: Lake, tmp_path: Path, seed: int):
    batches = two_batches(seed)
    append(lake, batches[0])
    build(lake, [HANDBOOK, OTHER], tmp_path / "state")
    append(lake, batches[1])
    report = follow(lake, tmp_path / "state")
    assert (report["transactions_version"], report["labels_version"]) == (1, 1)
    assert 0 < report["transactions"] <= batches[1][0].num_rows
    checked = verify(lake, tmp_path / "state")
    assert checked["transactions"] > 100
    assert checked["only_in_state"] == {"transactions": 0, "labels": 0}
    transactions, labels = both(batches)
    new = [
        {
            "transaction_id": f"new{number}",
            "event_time": START + timedelta(days=60, hours=number),
            **{name: row[name] for name in ("card_id", "terminal_id", "amount_minor")},
        }
        for number, row in enumerate(transactions.to_pylist()[:20])
    ]
    known = events(pa.concat_tables([transactions, transaction_table(new)]), labels)
    state = OnlineState.open(tmp_path / "state")
    feed(state, [HANDBOOK, OTHER], known, after(transaction_table(new), START))
    state.close()


def test_following_again_brings_nothing_in(lake: Lake, tmp_path: Path):
    batches = two_batches()
    append(lake, batches[0])
    build(lake, [HANDBOOK], tmp_path / "state")
    append(lake, batches[1])
    follow(lake, tmp_path / "state")
    again = follow(lake, tmp_path / "state")
    assert (again["transactions"], again["known"], again["labels"]) == (0, 0, 0)


def test_a_pass_that_was_cut_short_is_made_again_without_harm(lake: Lake, tmp_path: Path, monkeypatch):
    batches = two_batches()
    append(lake, batches[0])
    build(lake, [HANDBOOK], tmp_path / "state")
    append(lake, batches[1])

    def die(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OnlineState, "advance", die)
        with pytest.raises(KeyboardInterrupt):
            follow(lake, tmp_path / "state")
    assert follow(lake, tmp_path / "state")["transactions"] == 0
    verify(lake, tmp_path / "state")


def test_state_as_of_a_time_gets_the_younger_facts_of_the_same_files(lake: Lake, tmp_path: Path):
    append(lake, both(two_batches()))
    build(lake, [HANDBOOK, OTHER], tmp_path / "state", as_of=START + 40 * DAY)
    verify(lake, tmp_path / "state")
    assert follow(lake, tmp_path / "state")["transactions"] > 50
    followed = verify(lake, tmp_path / "state")
    build(lake, [HANDBOOK, OTHER], tmp_path / "whole")
    whole = verify(lake, tmp_path / "whole")
    for name in ("transactions", "labels", "entities", "as_of"):
        assert followed[name] == whole[name]


@pytest.fixture
def served(lake: Lake, tmp_path: Path) -> Path:
    rows = [{"transaction_id": "old", "event_time": START, "card_id": "c", "terminal_id": "m"}]
    lake.append("transactions", transaction_table(rows))
    lake.append("labels", label_table([]))
    build(lake, [HANDBOOK], tmp_path / "state")
    return tmp_path / "state"


def shipped(lake: Lake, **changes) -> None:
    at = START + timedelta(hours=1)
    row = {"transaction_id": "a", "event_time": at, "card_id": "c", "terminal_id": "m", "amount_minor": 10}
    lake.append("transactions", transaction_table([{**row, **changes}]))


def test_a_scored_transaction_that_reaches_the_lake_is_known_and_not_counted_twice(lake: Lake, served: Path):
    state = OnlineState.open(served)
    state.score(HANDBOOK, transaction("a", 1), b"digest", lambda _: b"one")
    state.label("a", micros(START + DAY), "api", is_fraud=True)
    state.close()
    assert verify(lake, served)["only_in_state"] == {"transactions": 1, "labels": 1}
    shipped(lake)
    report = follow(lake, served)
    assert (report["transactions"], report["known"]) == (0, 1)
    assert verify(lake, served)["only_in_state"] == {"transactions": 0, "labels": 1}
    state = OnlineState.open(served)
    assert not state.score(HANDBOOK, transaction("a", 1), b"digest", lambda _: b"two").fresh
    assert count_of_card(state, "b", 2) == 3.0
    state.close()


def test_what_the_lake_says_of_a_scored_transaction_holds(lake: Lake, tmp_path: Path):
    rows = [{"transaction_id": "old", "event_time": START, "card_id": "c", "terminal_id": "m"}]
    lake.append("transactions", transaction_table(rows))
    build(lake, [OTHER], tmp_path / "state")
    state = OnlineState.open(tmp_path / "state")
    state.score(OTHER, transaction("a", 1), b"digest", lambda _: b"one")
    state.close()
    shipped(lake, status="declined", status_time=START + timedelta(hours=2))
    follow(lake, tmp_path / "state")
    verify(lake, tmp_path / "state")
    state = OnlineState.open(tmp_path / "state")
    seen: list[float] = []
    name = "terminal_id_count_2d_where_status_declined"

    def decide(features: np.ndarray) -> bytes:
        seen.append(features[OTHER.names.index(name)])
        return b""

    for number, hours in enumerate((1.5, 2)):
        state.score(OTHER, transaction(f"x{number}", hours), b"digest", decide)
    state.close()
    assert seen == [0.0, 1.0]


def test_scoring_an_ingested_transaction_leaves_its_record_alone(lake: Lake, tmp_path: Path):
    shipped(lake, status="declined", known_at=START + DAY)
    build(lake, [OTHER], tmp_path / "state")
    state = OnlineState.open(tmp_path / "state")
    assert state.score(OTHER, transaction("a", 1), b"digest", lambda _: b"one").fresh
    state.close()
    verify(lake, tmp_path / "state")


@pytest.mark.usefixtures("small_chunks")
def test_what_no_window_reaches_any_more_is_forgotten(lake: Lake, tmp_path: Path):
    rows = [
        {
            "transaction_id": f"t{n}",
            "event_time": START + n * timedelta(hours=2),
            "card_id": "c",
            "terminal_id": "m",
        }
        for n in range(300)
    ]
    said = [{**row, "label_time": row["event_time"] + 7 * DAY} for row in rows[::5]]
    lake.append("transactions", transaction_table(rows))
    lake.append("labels", label_table([{name: row[name] for name in row} for row in said]))
    build(lake, [HANDBOOK], tmp_path / "state")
    lake.append(
        "transactions",
        transaction_table([{"transaction_id": "new", "event_time": START + 60 * DAY, "card_id": "d"}]),
    )
    report = follow(lake, tmp_path / "state")
    assert report["forgotten"] > 250
    verify(lake, tmp_path / "state")
    state = OnlineState.open(tmp_path / "state")
    for key in state.layout.keys.values():
        for one in key.tracks:
            assert sum(len(records) for _, records in state.pasts(one)) < 60
    state.close()


def drop_a_record(state: OnlineState, one: Track) -> None:
    entity, rows = next(iter(state.pasts(one)))
    state._store.transact(
        lambda pages: pages.delete(bytes((one.number,)) + entity.to_bytes(8, "big", signed=True))
    )
    state.insert(one, {entity: rows[1:]})


@pytest.mark.parametrize("what", ["transactions", "labels"])
def test_a_missing_record_is_a_difference(lake: Lake, tmp_path: Path, what: str):
    append(lake, both(two_batches()))
    build(lake, [HANDBOOK], tmp_path / "state")
    state = OnlineState.open(tmp_path / "state")
    drop_a_record(state, getattr(state.layout.keys["terminal_id"], what))
    state.close()
    with pytest.raises(StateError, match=rf"1 {what} .*is missing.*fraud state build"):
        verify(lake, tmp_path / "state")


def test_a_transaction_of_unknown_origin_is_a_difference(lake: Lake, served: Path):
    state = OnlineState.open(served)
    key = state.layout.keys["card_id"]
    rows = np.zeros(1, key.transactions.format.types[0])
    rows["event_time"] = micros(START)
    state.insert(key.transactions, {7: rows})
    state.close()
    with pytest.raises(StateError, match="not in the lake"):
        verify(lake, served)


def test_following_without_a_state_says_how_to_build_it(lake: Lake, tmp_path: Path):
    with pytest.raises(ConfigError, match="fraud state build"):
        follow(lake, tmp_path / "state")


def test_a_transaction_without_entities_is_recorded_once(served: Path):
    state = OnlineState.open(served)
    nobody = online(
        {
            "transaction_id": "n",
            "event_time": START,
            "kind": "purchase",
            "amount_minor": 1,
            "currency": "EUR",
            "amount_base_minor": 1,
            "card_id": None,
            "terminal_id": None,
        }
    )
    seen: list[np.ndarray] = []
    assert state.score(HANDBOOK, nobody, b"digest", lambda row: seen.append(row) or b"one").fresh
    assert not state.score(HANDBOOK, nobody, b"digest", lambda _: b"two").fresh
    assert np.isnan(seen[0][3:]).all()
    state.close()
