"""An entity's past: a head, closed chunks, and what late records, labels and forgetting do to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fraud.features import track as tracks
from fraud.features.kinds.window import Window
from fraud.features.layout import Layout
from fraud.features.past import MemoryPages, Past
from fraud.features.reading import Reading
from fraud.features.spec import FeatureSet, load_text
from fraud.features.track import LABELS, Track
from fraud.features.walk import Asker

LAYOUT = Layout.of(
    [
        load_text(
            """
format_version: 1
name: past
time_zone: UTC
features:
  - {window: card_id, of: amount, stats: [count, sum, min, max], spans: [30d]}
  - {window: card_id, of: fraud, stats: [sum], spans: [30d], delay: 1d}
""",
            "past",
        )
    ]
)
CARD = LAYOUT.keys["card_id"]
TRANSACTIONS, SAID = CARD.transactions, CARD.labels
RANK = np.arange(3)
SECOND = 1_000_000


@pytest.fixture(autouse=True)
def _chunks_of_four(monkeypatch) -> None:
    monkeypatch.setattr(tracks.Track, "chunk_rows", lambda *_: 4)


def rows(*times: int, amount: int = 10, known_after: int = 0) -> np.ndarray:
    form = TRANSACTIONS.format
    found = np.zeros(len(times), form.widest)
    found["event_time"] = found["tie"] = times
    found["known_at"], found["amount"] = found["event_time"] + known_after, amount
    return form.narrow(found)


def said(time: int, label_time: int, *, is_fraud: bool = True) -> np.ndarray:
    return np.array([(time, time, label_time, 0, is_fraud)], LABELS.widest)


class CountedPages(MemoryPages):
    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def get(self, key: bytes) -> bytes | None:
        self.read += 1
        return super().get(key)


def past_of(pages: MemoryPages, *times: int, track: Track = TRANSACTIONS) -> Past:
    past = Past(track, pages, 1)
    for time in times:
        past.insert(rows(time))
    past.save()
    return Past(track, pages, 1)


def read(past: Past, time: int, *, labels: Past | None = None, **window: Any) -> list[float]:
    """One window of the card, its spans in microseconds; ``past`` does not hold the transaction."""
    reading = Reading(
        FeatureSet("x", "UTC", (Window.model_construct(window=("card_id",), **window),)), LAYOUT
    )
    found = np.empty((len(reading.names), 1))
    asker = Asker(time, 0, np.empty(0, np.int64))
    reading.read([past, labels][: len(reading.tracks)], asker, found, 0)
    return found[:, 0].tolist()


def chunks(past: Past) -> list[list[int]]:
    numbers = past.directory.numbers(slice(None))
    return [past.chunk(number)["event_time"].tolist() for number in numbers]


def test_the_older_half_of_a_full_head_becomes_a_chunk():
    past = past_of(MemoryPages(), *range(1, 10))
    assert chunks(past) == [[1, 2, 3, 4]]
    assert past.head["event_time"].tolist() == [5, 6, 7, 8, 9]


def test_a_short_past_is_one_value():
    pages = MemoryPages()
    past_of(pages, *range(1, 7))
    assert len(pages.values) == 1


def test_a_late_record_enters_its_chunk_and_its_sums():
    pages = MemoryPages()
    past = past_of(pages, *range(10, 200, 10))
    past.insert(rows(25, amount=1_000))
    past.save()
    past = Past(TRANSACTIONS, pages, 1)
    assert chunks(past)[0] == [10, 20, 25, 30, 40]
    assert read(past, 10**6, of="amount", stats=("count", "sum", "max"), spans=(10**9,)) == [20, 1_190, 1_000]


def test_a_chunk_that_has_grown_twice_is_cut_in_two():
    pages = MemoryPages()
    past = past_of(pages, *range(10, 200, 10))
    for time in (11, 12, 13, 14):
        past.insert(rows(time))
    past.save()
    assert chunks(Past(TRANSACTIONS, pages, 1))[:3] == [[10, 11, 12, 13], [14, 20, 30, 40], [50, 60, 70, 80]]


def test_a_record_that_comes_again_takes_the_place_of_the_first():
    past = past_of(MemoryPages(), *range(10, 200, 10))
    past.insert(rows(20, amount=77))
    past.insert(rows(190, amount=78))
    everything = past.everything()
    assert len(everything) == 19
    assert everything["amount"][[1, 18]].tolist() == [77, 78]


def test_late_and_large_records_alone_take_more_room():
    form = TRANSACTIONS.format
    sizes = [
        form.types[form.flags(kept)].itemsize
        for kept in (
            rows(1),
            rows(1, amount=2**40),
            rows(1, known_after=5),
            rows(1, amount=-(2**40), known_after=5),
        )
    ]
    assert sizes == [20, 24, 28, 32]


def test_a_narrow_head_takes_in_a_late_and_large_record():
    past = past_of(MemoryPages(), 1, 2)
    past.insert(rows(3, amount=2**40, known_after=9))
    assert past.head["amount"].tolist() == [10, 10, 2**40]
    assert past.head["known_at"].tolist() == [1, 2, 12]


def test_the_labels_of_one_transaction_stay_in_one_chunk():
    pages = MemoryPages()
    past = Past(SAID, pages, 1)
    for label_time in range(100, 106):
        for time in (1, 2, 3):
            past.insert(said(time, label_time), RANK)
    assert chunks(past) == [[1] * 6, [2] * 6]
    assert past.head["event_time"].tolist() == [3] * 6


def test_a_label_that_comes_twice_is_kept_once():
    past = Past(SAID, MemoryPages(), 1)
    for _ in range(2):
        past.insert(said(1, 100), RANK)
    assert len(past.everything()) == 1


def test_a_withdrawn_fraud_counts_until_then():
    past = Past(SAID, MemoryPages(), 1)
    past.insert(said(1, 200, is_fraud=False), RANK)
    past.insert(said(1, 100), RANK)
    of_transactions = past_of(MemoryPages(), 1)
    counted = [
        read(of_transactions, time, labels=past, of="fraud", stats=("sum",), spans=(1_000,), delay=1)
        for time in (99, 100, 199, 200)
    ]
    assert counted == [[0], [1], [1], [0]]


def test_a_window_over_a_busy_entity_reads_the_chunks_at_its_edges_only():
    pages = CountedPages()
    past_of(pages, *range(10 * SECOND, 10_000 * SECOND, 10 * SECOND))
    pages.read = 0
    past = Past(TRANSACTIONS, pages, 1)
    spans = (7_005 * SECOND, 1_000 * SECOND)
    asked = {"of": "amount", "stats": ("count", "sum"), "spans": spans, "delay": 500 * SECOND}
    assert read(past, 9_000 * SECOND, **asked) == [701, 100, 7_010, 1_000]
    assert pages.read <= 2 + 3


def test_what_is_not_known_yet_is_read_record_by_record():
    past = past_of(MemoryPages(), *range(10, 200, 10))
    past.insert(rows(15, known_after=1_000))
    counted = [read(past, time, stats=("count",), spans=(10**6,)) for time in (500, 1_014, 1_015)]
    assert counted == [[19], [19], [20]]


def test_forgetting_drops_whole_chunks_and_their_values():
    pages = MemoryPages()
    past = past_of(pages, *range(10, 200, 10))
    past.forget(95)
    past.save()
    past = Past(TRANSACTIONS, pages, 1)
    assert chunks(past)[0] == [90, 100, 110, 120]
    past.forget(10**6)
    past.save()
    assert pages.values == {}


def test_entities_do_not_see_each_other():
    pages = MemoryPages()
    past_of(pages, *range(1, 30))
    other = Past(TRANSACTIONS, pages, -1)
    other.insert(rows(5))
    other.save()
    assert len(Past(TRANSACTIONS, pages, 1).everything()) == 29
    assert len(Past(TRANSACTIONS, pages, -1).everything()) == 1
