"""A state that is replaced while it is in use: no decision is lost, and none is made twice."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import label_table, micros, transaction_table
from factories_decided import canonical, decision, event, label, segment
from test_state import HANDBOOK, OTHER, START, transaction

from fraud.errors import ConfigError, ConflictError, StateBuiltElsewhereError
from fraud.features.online import OnlineTransaction
from fraud.jobs import state as builds
from fraud.jobs.state import build
from fraud.jobs.state_follow import follow
from fraud.storage import state as states
from fraud.storage import state_place, state_store
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState

NOW = datetime.now(UTC)


@pytest.fixture
def place(lake: Lake, tmp_path: Path) -> Path:
    rows = [{"transaction_id": "old", "event_time": START, "card_id": "c", "terminal_id": "m"}]
    lake.append("transactions", transaction_table(rows))
    lake.append("labels", label_table([]))
    build(lake, [HANDBOOK], tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def looks_always(monkeypatch) -> None:
    monkeypatch.setattr(states, "_LOOK_S", 0.0)


def digest(one: OnlineTransaction) -> bytes:
    return hashlib.sha256(canonical(one)).digest()


def answered(state: OnlineState, one: OnlineTransaction, **answer) -> bytes:
    """Score a transaction as the service does, and return the answer's record."""
    return state.score(HANDBOOK, one, digest(one), lambda _: decision(one, **answer)).body


def features(state: OnlineState, one: OnlineTransaction) -> list[float]:
    found = state.observe(HANDBOOK, one, digest(one))
    assert not isinstance(found, bytes)
    return found.tolist()


def count_of(state: OnlineState, name: str, hours: float) -> float:
    return features(state, transaction(name, hours))[HANDBOOK.names.index("card_id_count_1d")]


def test_answers_are_the_same_after_a_build(lake: Lake, place: Path):
    state = OnlineState.open(place)
    first = answered(state, transaction("a", 1))
    build(lake, [HANDBOOK], place)
    assert answered(state, transaction("a", 1)) == first
    assert OnlineState.open(place).answer("a") == first
    with pytest.raises(ConflictError):
        answered(state, transaction("a", 2))


def test_features_after_a_build_are_those_without_one(lake: Lake, place: Path, tmp_path: Path):
    build(lake, [HANDBOOK], tmp_path / "other")
    kept, replaced = OnlineState.open(tmp_path / "other"), OnlineState.open(place)
    for hour in range(1, 6):
        for state in (kept, replaced):
            answered(state, transaction(f"t{hour}", hour))
        build(lake, [OTHER, HANDBOOK] if hour % 2 else [HANDBOOK], place)
        assert features(replaced, transaction("probe", 7)) == features(kept, transaction("probe", 7))


def test_a_wider_state_serves_those_who_use_the_one_before(lake: Lake, place: Path):
    state = OnlineState.open(place)
    assert not state.covers(OTHER)
    build(lake, [HANDBOOK, OTHER], place)
    answered(state, transaction("a", 1))
    assert state.covers(OTHER)
    state.check(OTHER)
    one = transaction("b", 2)
    np.testing.assert_array_equal(state.observe(OTHER, one, digest(one)), state.peek(OTHER, one))


@pytest.mark.usefixtures("looks_always")
def test_who_only_asks_what_is_covered_sees_the_wider_state(lake: Lake, place: Path):
    state = OnlineState.open(place)
    build(lake, [HANDBOOK, OTHER], place)
    assert state.layout.covers(OTHER)
    assert state.covers(OTHER)


def test_readers_find_the_new_state(lake: Lake, place: Path):
    state = OnlineState.open(place)
    observed = features(state, transaction("a", 1))
    build(lake, [HANDBOOK], place)
    features(state, transaction("a", 1))
    assert state.peek(HANDBOOK, transaction("a", 1)).tolist() == observed
    assert state.answer("a") is None


def test_a_decision_upon_what_the_old_state_saw_is_kept_with_its_transaction(lake: Lake, place: Path):
    state, one = OnlineState.open(place), transaction("a", 1)
    state.observe(HANDBOOK, one, digest(one))
    build(lake, [HANDBOOK], place)
    body = decision(one)
    assert state.keep([(one, body)]) == [body]
    assert count_of(state, "b", 2) == 3.0
    with pytest.raises(ConflictError):
        answered(state, transaction("a", 1, terminal_id="n"))
    assert answered(state, one) == body


def test_a_state_as_of_a_time_knows_nothing_younger(lake: Lake, place: Path):
    state = OnlineState.open(place)
    answered(state, transaction("a", 1))
    build(lake, [HANDBOOK], place, as_of=START + timedelta(hours=1))
    assert state.answer("a") is None
    assert count_of(state, "b", 2) == 2.0


def killed(monkeypatch: pytest.MonkeyPatch, lake: Lake, place: Path, at: int) -> bool:
    """Build, but die at a step of putting the new state in place; return whether there is such a step."""
    steps = count(1)

    def step() -> None:
        if next(steps) == at:
            raise KeyboardInterrupt

    def armed(built: Path, path: Path, **options: bool) -> None:
        owners = (OnlineState, "_bring_over"), (state_store.LmdbStore, "_rename"), (Path, "rename")
        for owner, name in (*owners, (state_store.LmdbStore, "leave"), (shutil, "rmtree")):
            patch.setattr(owner, name, stepped(getattr(owner, name), step))
        state_place.put_in_place(built, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(builds, "put_in_place", armed)
        try:
            build(lake, [HANDBOOK, OTHER], place)
        except KeyboardInterrupt:
            return True
    return False


def stepped(work: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        step()
        found = work(*args, **options)
        step()
        return found

    return run


def test_a_builder_may_die_at_any_step(lake: Lake, place: Path, monkeypatch: pytest.MonkeyPatch):
    state, given, at = OnlineState.open(place), {}, 0
    is_killed = True
    while is_killed:
        at += 1
        given[at] = answered(state, transaction(f"t{at}", at / 100))
        is_killed = killed(monkeypatch, lake, place, at)
        for user in (state, OnlineState.open(place)):
            assert {step: user.answer(f"t{step}") for step in given} == given, f"killed at step {at}"
    assert at > 12
    assert count_of(state, "probe", 5) == at + 2
    assert sorted(each.name for each in place.parent.iterdir()) == ["lake", "state", "state.lock"]


def killed_before_it_renames(monkeypatch: pytest.MonkeyPatch, lake: Lake, place: Path) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(state_store.LmdbStore, "_rename", die)
        with pytest.raises(KeyboardInterrupt):
            build(lake, [HANDBOOK, OTHER], place)


def test_a_builder_that_dies_before_it_renames_is_finished_by_a_user(lake: Lake, place: Path, monkeypatch):
    state = OnlineState.open(place)
    first = answered(state, transaction("a", 1))
    killed_before_it_renames(monkeypatch, lake, place)
    assert answered(state, transaction("a", 1)) == first
    assert OnlineState.open(place).covers(OTHER)
    assert sorted(each.name for each in place.parent.iterdir()) == ["lake", "state", "state.lock"]


def test_a_builder_that_dies_before_it_renames_is_finished_by_the_next(lake: Lake, place: Path, monkeypatch):
    first = answered(OnlineState.open(place), transaction("a", 1))
    killed_before_it_renames(monkeypatch, lake, place)
    build(lake, [HANDBOOK], place)
    assert OnlineState.open(place).answer("a") == first


def test_a_state_whose_follower_is_gone_is_built_again(lake: Lake, place: Path, monkeypatch):
    killed_before_it_renames(monkeypatch, lake, place)
    (built,) = place.parent.glob("state.building-*")
    shutil.rmtree(built)
    with pytest.raises(ConfigError, match="fraud state build"):
        OnlineState.open(place)
    build(lake, [HANDBOOK], place)
    assert count_of(OnlineState.open(place), "b", 2) == 2.0


def test_two_builds_for_one_place_at_once_are_refused(lake: Lake, place: Path):
    with state_place.building(place), pytest.raises(StateBuiltElsewhereError, match="wait"):
        build(lake, [HANDBOOK], place)
    build(lake, [HANDBOOK], place)


def test_something_that_is_no_state_is_replaced(lake: Lake, place: Path):
    (place / "data.mdb").write_bytes(b"no state" * 10_000)
    with pytest.raises(ConfigError, match="no online state"):
        OnlineState.open(place)
    build(lake, [HANDBOOK], place)
    assert count_of(OnlineState.open(place), "b", 2) == 2.0


def test_a_pass_over_the_lake_is_made_again_in_the_new_state(lake: Lake, place: Path, monkeypatch):
    row = {"transaction_id": "new", "event_time": START, "card_id": "c", "terminal_id": "m"}
    lake.append("transactions", transaction_table([row]))
    insert, built = OnlineState.insert, []

    def insert_late(self: OnlineState, *args: object) -> None:
        if not built:
            built.append(build(lake, [OTHER, HANDBOOK], place))
        insert(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(OnlineState, "insert", insert_late)
        follow(lake, place)
    assert count_of(OnlineState.open(place), "b", 2) == 3.0


def test_a_deleted_state_is_put_back_with_everything_in_it(place: Path):
    state = OnlineState.open(place)
    first = answered(state, transaction("a", 1))
    assert not state.tend()
    shutil.rmtree(place)
    second = answered(state, transaction("b", 2))
    assert state.tend()
    assert not state.tend()
    again = OnlineState.open(place)
    assert (again.answer("a"), again.answer("b")) == (first, second)
    third = answered(state, transaction("c", 3))
    assert again.answer("c") == third


def test_a_state_deleted_again_before_anybody_looked_is_put_back_too(place: Path):
    state = OnlineState.open(place)
    first = answered(state, transaction("a", 1))
    for _ in range(2):
        shutil.rmtree(place)
        assert state.tend()
    assert OnlineState.open(place).answer("a") == first


def test_a_deleted_state_is_put_back_where_its_parents_were_deleted_too(
    lake: Lake, tmp_path: Path, place: Path
):
    build(lake, [HANDBOOK], tmp_path / "work" / "state")
    state = OnlineState.open(tmp_path / "work" / "state")
    shutil.rmtree(tmp_path / "work")
    assert state.tend()
    assert count_of(OnlineState.open(tmp_path / "work" / "state"), "b", 2) == 2.0


@pytest.mark.usefixtures("looks_always")
def test_a_state_built_in_the_place_of_a_deleted_one_gets_what_that_one_answered(lake: Lake, place: Path):
    users = [OnlineState.open(place) for _ in range(2)]
    first = answered(users[0], transaction("a", 1))
    shutil.rmtree(place)
    build(lake, [HANDBOOK], place)
    fresh = OnlineState.open(place)
    assert fresh.answer("a") is None
    assert [answered(user, transaction("a", 1)) for user in users] == [first, first]
    assert fresh.answer("a") == first


def test_journals_are_replayed_into_a_state_from_scratch(lake: Lake, place: Path, tmp_path: Path):
    state, journal = OnlineState.open(place), tmp_path / "journal"
    records = [answered(state, transaction(f"t{hour}", hour)) for hour in range(1, 4)]
    refund = transaction("r", 4)
    state.record(refund, digest(refund))
    known = START + timedelta(days=2)
    state.label("t1", micros(known), "api", is_fraud=True)
    # The label is in a segment before the one with its transaction, the repeated record as a retry leaves it.
    segment(journal, [label("t1", known), label("nobody", known)])
    segment(journal, [*records, records[0], event(refund)])
    shutil.rmtree(place)
    report = build(lake, [HANDBOOK], place, journal=journal)
    assert (report["replayed"], report["conflicts"], report["damaged"]) == (7, 0, [])
    again = OnlineState.open(place)
    assert [again.answer(f"t{hour}") for hour in range(1, 4)] == records
    with pytest.raises(ConflictError):
        answered(again, transaction("t1", 2))
    for name, hours in (("probe", 5), ("later", 24 * 12)):
        assert features(again, transaction(name, hours)) == features(state, transaction(name, hours))


def test_records_that_the_lake_has_are_not_counted_twice(lake: Lake, place: Path, tmp_path: Path):
    old, other = transaction("old", 0), transaction("old", 0, terminal_id="n")
    segment(tmp_path / "journal", [decision(old), decision(other)])
    report = build(lake, [HANDBOOK], place, journal=tmp_path / "journal")
    assert report["conflicts"] == 1
    state = OnlineState.open(place)
    assert state.answer("old") is not None
    assert count_of(state, "b", 1) == 2.0


def test_old_answers_are_not_kept_but_their_transactions_are(lake: Lake, place: Path, tmp_path: Path):
    segment(tmp_path / "journal", [decision(transaction("a", 1), NOW - timedelta(hours=49))])
    build(lake, [HANDBOOK], place, journal=tmp_path / "journal")
    state = OnlineState.open(place)
    assert state.answer("a") is None
    assert count_of(state, "b", 2) == 3.0


def test_a_damaged_segment_costs_what_follows_in_it_only(lake: Lake, place: Path, tmp_path: Path):
    journal = tmp_path / "journal"
    for hour in (1, 2):
        segment(journal, [decision(transaction(f"t{hour}{part}", hour)) for part in "abc"])
    first = sorted(journal.iterdir())[0]
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join([*lines[:2], lines[2].replace(b"t1b", b"t1x"), lines[3]]))
    report = build(lake, [HANDBOOK], place, journal=journal)
    state = OnlineState.open(place)
    assert report["damaged"] == [first.name]
    names = ("t1a", "t1b", "t1c", "t2a", "t2b", "t2c")
    assert [state.answer(name) is not None for name in names] == [True, False, False, True, True, True]


def test_old_answers_are_forgotten_by_the_time_they_were_stored(
    lake: Lake, place: Path, monkeypatch: pytest.MonkeyPatch
):
    state = OnlineState.open(place)
    with monkeypatch.context() as patch:
        patch.setattr(states, "_now_us", lambda: micros(NOW - timedelta(hours=49)))
        answered(state, transaction("a", 1))
    answered(state, transaction("b", 1))
    row = {"transaction_id": "new", "event_time": START + timedelta(days=3), "card_id": "d"}
    lake.append("transactions", transaction_table([row]))
    follow(lake, place)
    assert (state.answer("a"), state.answer("b") is not None) == (None, True)


USER = """
import json, sys, time
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from factories_decided import decision
from test_state import HANDBOOK, transaction
from test_state_handover import digest
from fraud.storage.state import OnlineState

place, mine, output = Path(sys.argv[1]), sys.argv[2], open(sys.argv[3], "w")
state, until, number = OnlineState.open(place), time.monotonic() + 60, 0
print("open", flush=True)
while not place.with_name("stop").exists() and time.monotonic() < until:
    one = transaction(f"t{number}", 1 + number / 3600)
    body = state.score(HANDBOOK, one, digest(one), lambda _: decision(one, by=mine)).body
    output.write(json.dumps([one.transaction_id, body.decode()]) + chr(10))
    number += 1
output.close()
"""


def test_two_processes_write_during_three_builds_and_each_id_has_one_answer(lake: Lake, place: Path):
    tests = Path(__file__).parents[1]
    outputs = [place.with_name(f"answers-{name}") for name in "ab"]
    users = [
        subprocess.Popen(
            [sys.executable, "-c", USER, place, output.name, output, tests, tests / "parity"],
            stdout=subprocess.PIPE,
        )
        for output in outputs
    ]
    for user in users:
        assert user.stdout.readline() == b"open\n"
    for sets in ([HANDBOOK, OTHER], [HANDBOOK], [OTHER, HANDBOOK]):
        time.sleep(0.2)
        build(lake, sets, place)
    place.with_name("stop").touch()
    assert [user.wait(30) for user in users] == [0, 0]
    for user in users:
        user.stdout.close()
    given: dict[str, set[str]] = defaultdict(set)
    for output in outputs:
        for line in output.read_text().splitlines():
            transaction_id, body = json.loads(line)
            given[transaction_id].add(body)
    state = OnlineState.open(place)
    assert len(given) > 200
    assert {name: len(bodies) for name, bodies in given.items() if len(bodies) > 1} == {}
    assert [name for name, (body,) in given.items() if state.answer(name) != body.encode()] == []
    assert len({json.loads(body)["answer"]["by"] for (body,) in given.values()}) == 2
    assert count_of(state, "probe", 23) == len(given) + 2
