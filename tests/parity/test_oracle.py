"""The oracle itself, against values by hand."""

from __future__ import annotations

import math

import pytest

from fraud.features.definition import Event, naive_features, naive_window
from fraud.features.kinds.window import Window
from fraud.features.spec import load_text

H = 3_600_000_000


def event(number: int, hours: float, amount: int = 0, **given) -> Event:
    time = round(hours * H)
    return Event(str(number), "c", time, number, given.pop("known_at", time), amount, **given)


def window(**keys) -> Window:
    return Window.model_validate({"window": "card_id", "spans": ["2h"], **keys})


def of(declared: Window, events: list[Event]) -> list[float]:
    """Of the last of the events."""
    return [*naive_window(declared, events, events[-1]).values()]


def test_window_is_open_at_the_old_end_and_closed_at_the_young_one():
    events = [event(0, 8, 1), event(1, 8.5, 10), event(2, 10, 100)]
    assert of(window(of="amount", stats=["sum"]), events) == [110]
    events = [event(0, 8, 1), event(1, 9, 10), event(2, 10, 100), event(3, 11, 0)]
    assert of(window(of="amount", stats=["sum"], delay="1h"), events) == [110]


def test_ties_before_it_are_seen_and_those_after_it_are_not():
    events = [event(0, 8, 1), event(2, 8, 100), event(1, 8, 10)]
    assert of(window(of="amount", stats=["sum", "max"]), events) == [11, 10]


def test_transaction_known_later_is_not_seen_before_it_is_known():
    events = [event(0, 8, 1, known_at=9 * H + 1), event(1, 9, 10)]
    assert of(window(of="amount", stats=["sum"]), events) == [10]
    assert of(window(of="amount", stats=["sum"]), [event(0, 8, 1, known_at=9 * H), event(1, 9, 10)]) == [11]


def test_moments_by_hand():
    events = [event(n, 8 + n / 10, amount) for n, amount in enumerate((2, 4, 4, 4, 5, 5, 7, 9))]
    stats = window(of="amount", stats=["count", "sum", "mean", "std", "min", "max", "seconds_since_last"])
    assert of(stats, events) == [8, 40, 5, 2, 2, 9, 360]
    assert of(window(of="amount", stats=["mean"], include_self=False), events) == [pytest.approx(31 / 7)]


def test_missing_numbers_are_left_out_and_nothing_gives_empty():
    events = [event(n, 8 + n / 10, numbers={"risk": risk}) for n, risk in enumerate((0.5, None, 1.5))]
    assert of(window(of="risk", stats=["count", "mean", "std"]), events) == [3, 1, 0.5]
    alone = window(of="risk", stats=["count", "mean", "max"], include_self=False, empty=-1)
    assert of(alone, events[:1]) == [0, -1, -1]
    assert of(window(of="risk", stats=["mean"]), events[1:2]) == [pytest.approx(math.nan, nan_ok=True)]


def test_newest_label_known_by_then_holds():
    labels = ((5 * H, "bank", True), (9 * H, "bank", False))
    declared = window(
        of="fraud", stats=["count", "sum", "mean", "seconds_since_last"], spans=["8h"], delay="1h"
    )
    events = [event(0, 2, labels=labels), event(1, 3)]
    assert of(declared, [*events, event(2, 4.9)])[:3] == [2, 0, 0]
    assert of(declared, [*events, event(2, 5)]) == [2, 1, 0.5, 3 * 3600]
    assert of(declared, [*events, event(2, 9)])[:3] == [2, 0, 0]


def test_fraud_counts_before_its_transaction_is_known():
    events = [event(0, 2, known_at=7 * H, labels=((3 * H, "bank", True),)), event(1, 3), event(2, 5)]
    assert of(window(of="fraud", stats=["count", "sum"], spans=["8h"], delay="1h"), events) == [1, 1]


def test_only_purchases_and_verifications_count_unless_asked_for():
    events = [
        event(n, 8, kind=kind) for n, kind in enumerate(("refund", "verification", "reversal", "purchase"))
    ]
    assert of(window(stats=["count"]), events) == [2]
    assert of(window(stats=["count"], where={"kind": ["refund", "purchase"]}), events) == [2]


def test_status_counts_from_its_time_on_and_never_for_the_transaction_itself():
    declined = [event(0, 8, status="declined", status_time=9 * H), event(2, 8.9, status="declined")]
    assert of(window(stats=["count"], where={"status": "declined"}), declined) == [0]
    declined = [event(0, 8, status="declined", status_time=9 * H), event(2, 9, status="declined")]
    assert of(window(stats=["count"], where={"status": "declined"}), declined) == [1]


def test_texts_are_counted_once_and_new_only_once():
    seen = [event(n, 8 + n / 10, texts={"ip": ip}) for n, ip in enumerate(("a", "b", None, "a"))]
    declared = window(of="ip", stats=["distinct", "first_time"])
    assert [of(declared, seen[: n + 1]) for n in range(4)] == [
        [1, 1],
        [2, 1],
        [2, pytest.approx(math.nan, nan_ok=True)],
        [2, 0],
    ]
    assert of(window(stats=["first_time"]), seen[:1]) == [1]
    assert of(window(stats=["first_time"]), seen[:2]) == [0]


def test_null_entity_says_nothing_and_a_pair_needs_both():
    at = {"card_id": "c", "ip": None}
    null = Event("0", None, 8 * H, 0, 8 * H, 1, entities=at)
    assert math.isnan(of(window(window="ip", stats=["count"]), [null])[0])
    assert math.isnan(of(window(window=["card_id", "ip"], stats=["first_time"]), [null])[0])
    assert of(window(stats=["count"]), [null]) == [1]


def test_features_that_stand_on_others():
    features = load_text(
        """
format_version: 1
name: t
time_zone: Europe/Berlin
features:
  - column: amount
  - calendar: hour
  - {categorical: channel, values: [web]}
  - {zscore: amount, window: card_id, spans: [5h], floor: 4}
  - {window: card_id, of: amount, stats: [mean], spans: [5h], include_self: false}
  - {ratio: amount, to: card_id_amount_mean_5h_before}
  - {difference: amount, minus: card_id_amount_mean_5h_before}
""",
        "t",
    )
    events = [event(n, 8 + n, amount, texts={"channel": "shop"}) for n, amount in enumerate((10, 20, 30))]
    assert [*naive_features(features, events, events[-1]).values()] == [30, 11, 1, 3, 15, 2, 15]
