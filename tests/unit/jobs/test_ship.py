"""The journal reaches the lake: every record, once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from factories import label_table, transaction_table
from factories_journal import NOON, decision, event, label, shadow, write

from fraud import schema
from fraud.errors import BusyError
from fraud.features.spec import load_text
from fraud.jobs import ship, ship_segments
from fraud.jobs.ship import Shipper, run
from fraud.storage import alerts
from fraud.storage.journal import Journal, segments
from fraud.storage.lake import Lake

DAY = timedelta(days=1)
FEATURES = load_text(
    "{format_version: 1, name: x, time_zone: UTC, features: [{column: distance}, "
    "{categorical: channel, values: [web]}, {window: card_id, stats: [count], spans: [9d]}]}",
    "x",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def filled(lake: Lake) -> Lake:
    """A lake with a transaction and its columns."""
    types = {"distance": pa.float64(), "channel": pa.string()}
    rows = [{"transaction_id": "old", "event_time": NOON - DAY}]
    lake.append("labels", label_table([]))
    lake.append("transactions", transaction_table(rows, attributes=types))
    return lake


def ids(lake: Lake, name: str) -> list[str]:
    return sorted(lake.read(name, columns=["transaction_id"]).column(0).to_pylist())


def row(lake: Lake, name: str, transaction_id: str) -> dict:
    (found,) = [each for each in lake.read(name).to_pylist() if each["transaction_id"] == transaction_id]
    return found


def test_a_decision_is_shipped_with_everything_to_decide_again(filled: Lake, folder: Path):
    record = decision("a", verdict="review", reasons=["CARD_VELOCITY"], features=[1.5, None])
    write(folder, [record])
    report = run(filled, folder)
    assert (report["decisions"], report["transactions"]) == (1, 1)
    shipped = row(filled, "decisions", "a")
    assert shipped["features"] == [1.5, None]
    assert shipped["reasons"] == ["CARD_VELOCITY"]
    assert (shipped["score"], shipped["decision"], shipped["caller"]) == (0.25, "review", "key-1")
    for name in ("request", "answer", "policy"):
        assert shipped[name].encode() in record
    assert shipped["event_date"] == NOON.date()


def test_a_degraded_decision_has_no_features(filled: Lake, folder: Path):
    write(folder, [decision("a", degraded="deadline")])
    run(filled, folder)
    shipped = row(filled, "decisions", "a")
    assert (shipped["features"], shipped["score"], shipped["degraded"]) == (None, None, "deadline")


def test_a_scored_transaction_is_the_row_that_ingest_would_have_made(filled: Lake, folder: Path):
    said = {"distance": 2, "channel": "web", "colour": "red"}
    write(folder, [decision("a", terminal_id=None, base=99, attributes=said)])
    report = run(filled, folder)
    assert report["unread"] == 1
    found = row(filled, "transactions", "a")
    assert found.pop("ingest_id").startswith(schema.ENDPOINT)
    assert found == {
        "transaction_id": "a",
        "event_time": NOON,
        "known_at": NOON,
        "kind": "purchase",
        "status": None,
        "status_time": None,
        "amount_minor": 4250,
        "currency": "EUR",
        "amount_base_minor": 99,
        "tie": schema.tie("a"),
        "card_id": "c1",
        "terminal_id": None,
        "distance": 2.0,
        "channel": "web",
        "event_date": NOON.date(),
    }


def test_an_attribute_of_another_type_than_the_column_is_unread(filled: Lake, folder: Path):
    write(folder, [decision("a", attributes={"distance": "far", "channel": 3})])
    assert run(filled, folder)["unread"] == 2
    assert row(filled, "transactions", "a")["distance"] is None


def test_a_declined_transaction_has_that_status_from_the_decision_on(filled: Lake, folder: Path):
    write(folder, [decision("a", verdict="decline", decided_at=NOON + timedelta(seconds=1))])
    run(filled, folder)
    found = row(filled, "transactions", "a")
    assert (found["status"], found["status_time"]) == ("declined", NOON + timedelta(seconds=1))
    assert found["known_at"] == NOON


def test_a_transaction_of_a_featurized_day_was_known_when_it_arrived(filled: Lake, folder: Path):
    later = NOON + timedelta(hours=20)
    features = pa.Table.from_pylist(
        [{"transaction_id": "x", "event_time": NOON, "history_complete": True, "event_date": NOON.date()}],
        schema=schema.features([]),
    )
    filled.append("features_12345678", features)
    write(folder, [decision("a", decided_at=later), event("b", received_at=later)])
    run(filled, folder)
    assert [row(filled, "transactions", each)["known_at"] for each in "ab"] == [later, later]


def test_an_event_is_a_transaction_and_no_decision(filled: Lake, folder: Path):
    write(folder, [event("a", kind="refund")])
    report = run(filled, folder)
    assert (report["decisions"], report["transactions"]) == (0, 1)
    assert row(filled, "transactions", "a")["kind"] == "refund"


def test_a_shadow_score_is_no_live_one(filled: Lake, folder: Path):
    write(folder, [shadow("a"), shadow("a"), shadow("a", version="3")])
    report = run(filled, folder)
    assert (report["shadow"], report["duplicates"]) == (2, 1)
    scores = filled.read("scores").to_pylist()
    assert {(each["run_kind"], each["model_version"]) for each in scores} == {
        ("shadow", "2"),
        ("shadow", "3"),
    }
    assert scores[0]["reasons"] == []


def test_a_second_pass_ships_nothing(filled: Lake, folder: Path):
    write(folder, [decision("a"), label("a"), shadow("a"), event("b")])
    run(filled, folder)
    versions = {name: filled.version(name) for name in filled.tables()}
    again = run(filled, folder)
    assert [again[name] for name in ("decisions", "transactions", "labels", "shadow", "duplicates")] == [
        0
    ] * 5
    assert {name: filled.version(name) for name in filled.tables()} == versions


def test_a_record_that_is_in_the_journal_again_is_one_row(filled: Lake, folder: Path):
    write(folder, [decision("a"), decision("a"), label("a"), label("a")])
    first = run(filled, folder)
    write(folder, [decision("a"), event("b"), event("b")])
    second = run(filled, folder)
    assert (first["decisions"], first["labels"], second["decisions"]) == (1, 1, 0)
    assert ids(filled, "decisions") == ["a"]
    assert ids(filled, "transactions") == ["a", "b", "old"]
    assert ids(filled, "labels") == ["a"]
    assert (first["conflicts"], second["conflicts"]) == (0, 0)


def test_another_answer_of_the_same_id_is_a_conflict_that_is_kept(filled: Lake, folder: Path):
    write(folder, [decision("a"), decision("a", verdict="decline")])
    report = run(filled, folder)
    assert report["conflicts"] == 1
    assert row(filled, "decisions", "a")["decision"] == "approve"
    assert '"decline"' in filled.read("rejects").column("raw").to_pylist()[0]


def test_records_are_shipped_while_their_writer_lives(filled: Lake, folder: Path):
    async def scenario() -> list[dict]:
        journal = Journal(folder)
        await journal.write(decision("a"))
        first = run(filled, folder)
        await journal.write(decision("b"))
        second = run(filled, folder)
        await journal.close()
        return [first, second, run(filled, folder)]

    reports = asyncio.run(scenario())
    assert [report["decisions"] for report in reports] == [1, 1, 0]
    assert [report["segments_done"] for report in reports] == [0, 0, 1]
    assert ids(filled, "decisions") == ["a", "b"]


def test_a_torn_line_waits(filled: Lake, folder: Path):
    write(folder, [decision("a"), decision("b")])
    (segment,) = segments(folder)
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-9])
    assert run(filled, folder)["decisions"] == 1
    segment.write_bytes(whole)
    assert run(filled, folder)["decisions"] == 1
    assert ids(filled, "decisions") == ["a", "b"]


@pytest.mark.parametrize("damage", [b"no", b'{"record":"decision"}'])
def test_a_damaged_segment_stops_itself_alone(filled: Lake, folder: Path, damage: bytes):
    if damage == b"no":
        write(folder, [decision("a"), decision("b"), decision("c")])
        (segment,) = segments(folder)
        segment.write_bytes(segment.read_bytes().replace(b'"transaction_id":"b"', b'"transaction_id":"x"'))
    else:
        write(folder, [decision("a"), damage, decision("c")])
    write(folder, [decision("d")])
    for _ in range(2):
        report = run(filled, folder, keep_s=-1)
        assert (report["damaged"], len(segments(folder))) == (1, 1)
    assert ids(filled, "decisions") == ["a", "d"]
    (alert,) = alerts.entries(filled)
    assert (alert["kind"], alert["subject"]) == ("journal_damaged", segments(folder)[0].stem)


def test_a_label_waits_for_its_transaction(filled: Lake, folder: Path):
    write(folder, [label("later"), label("old")])
    shipper = Shipper(filled, folder)
    report = shipper.run()
    assert (report["labels"], report["waiting"]) == (1, 1)
    assert shipper.run()["waiting"] == 1
    write(folder, [decision("later")])
    report = shipper.run()
    assert (report["labels"], report["waiting"]) == (1, 0)
    found = row(filled, "labels", "later")
    assert (found["event_time"], found["card_id"], found["source"]) == (NOON, "c1", "api")
    assert run(filled, folder)["labels"] == 0


def test_a_label_that_waits_outlives_its_segment(filled: Lake, folder: Path):
    write(folder, [label("later")])
    assert run(filled, folder, keep_s=-1)["deleted"] == 1
    write(folder, [decision("later")])
    assert run(filled, folder)["labels"] == 1


def test_a_label_that_contradicts_the_lake_is_refused(filled: Lake, folder: Path):
    early = label("old", label_time=NOON - 2 * DAY)
    write(folder, [label("old"), label("old", is_fraud=False), early])
    report = run(filled, folder)
    assert (report["labels"], report["conflicts"]) == (1, 2)
    reasons = filled.read("rejects").column("reason").to_pylist()
    assert sorted(reasons) == ["conflict", "label_before_event"]


def test_an_id_that_a_file_brought_before_is_skipped_where_equal(filled: Lake, folder: Path):
    at = {"event_time": NOON, "card_id": "c1", "terminal_id": "m1", "amount_minor": 4250}
    rows = [
        {"transaction_id": "same", **at, "status": "approved"},
        {"transaction_id": "other", **at, "card_id": "c2"},
    ]
    types = {"distance": pa.float64(), "channel": pa.string()}
    filled.append("transactions", transaction_table(rows, attributes=types))
    write(folder, [decision("same", verdict="decline"), decision("other")])
    report = run(filled, folder)
    assert (report["decisions"], report["transactions"], report["conflicts"]) == (2, 0, 1)
    assert row(filled, "transactions", "same")["status"] == "approved"
    assert row(filled, "transactions", "other")["card_id"] == "c2"


def test_a_lake_without_transactions_gets_what_the_features_read(lake: Lake, folder: Path):
    write(
        folder, [decision("a", attributes={"distance": 1.5, "channel": "web"}, terminal_id=None), label("a")]
    )
    report = Shipper(lake, folder, feature_set=FEATURES).run()
    assert (report["transactions"], report["labels"]) == (1, 1)
    found = row(lake, "transactions", "a")
    assert (found["card_id"], found["distance"], found["channel"]) == ("c1", 1.5, "web")


def test_a_lake_without_transactions_and_columns_gets_decisions_only(lake: Lake, folder: Path):
    write(folder, [decision("a"), label("a")])
    report = run(lake, folder)
    assert (report["decisions"], report["unplaced"], report["waiting"]) == (1, 1, 1)
    assert lake.tables() == ["decisions"]


def test_old_segments_are_deleted_and_young_or_open_ones_stay(filled: Lake, folder: Path):
    write(folder, [decision("a")])
    write(folder, [decision("b")])
    old, _ = segments(folder)
    then = time.time() - 3 * 86_400
    os.utime(old, (then, then))

    async def scenario() -> dict:
        journal = Journal(folder)
        await journal.write(decision("c"))
        held = segments(folder)[-1]
        os.utime(held, (then, then))
        report = run(filled, folder)
        await journal.close()
        return report

    report = asyncio.run(scenario())
    assert (report["deleted"], report["segments"], report["segments_done"]) == (1, 2, 1)
    assert not old.exists()


def test_a_long_journal_is_shipped_some_records_at_a_time(filled: Lake, folder: Path, monkeypatch):
    monkeypatch.setattr(ship, "_AT_ONCE", 3)
    write(folder, [decision(f"t{n}") for n in range(7)], segment_bytes=4000)
    write(folder, [decision(f"s{n}") for n in range(4)])
    assert run(filled, folder)["decisions"] == 11
    assert filled.version("decisions") == 4
    assert len(set(ids(filled, "transactions"))) == 12


def test_days_are_partitions(filled: Lake, folder: Path):
    write(folder, [decision("a"), decision("b", event_time="2026-01-05T00:00:00.000000Z")])
    run(filled, folder)
    assert [part.event_date for part in filled.parts("decisions")] == [date(2026, 1, 5), NOON.date()]


def test_a_second_shipper_waits_and_then_says_so(filled: Lake, folder: Path, monkeypatch):
    write(folder, [decision("a")])
    monkeypatch.setattr(ship, "_WAIT_S", 0.1)
    with ship_segments.alone(folder, 0), pytest.raises(BusyError, match=r"0\.1 s"):
        run(filled, folder)
    assert run(filled, folder)["decisions"] == 1


def test_shippers_of_two_journals_write_a_row_once(filled: Lake, folder: Path, tmp_path: Path):
    write(folder, [decision("a")])
    write(tmp_path / "other", [decision("a"), decision("b")])
    raced = []

    def overtake(step: str) -> None:
        if step == "decisions written" and not raced:
            raced.append(step)
            run(filled, tmp_path / "other")

    report = Shipper(filled, folder, passed=overtake).run()
    assert (report["decisions"], report["duplicates"]) == (0, 1)
    assert ids(filled, "decisions") == ["a", "b"]
    assert ids(filled, "transactions") == ["a", "b", "old"]


def test_without_a_journal_there_is_nothing_to_ship(lake: Lake, folder: Path):
    assert run(lake, folder)["segments"] == 0
    assert not folder.exists()
