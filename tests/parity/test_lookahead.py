"""What happens or is learnt after a transaction changes none of its features; nor does the order of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from executors import batch_features, differences, scored
from histories import FEATURES, histories, thorough
from hypothesis import assume, given
from hypothesis import strategies as st

from fraud.features.definition import Event


def learnt_by(event: Event, t: int) -> Event:
    """The transaction as it was known at t: without younger labels and without a status that came later."""
    event = replace(event, labels=tuple(label for label in event.labels if label[0] <= t))
    return replace(event, status=None, status_time=0) if event.status_time > t else event


def is_past(event: Event, x: Event) -> bool:
    return (event.time, event.tie) <= (x.time, x.tie)


def without_the_future(events: Sequence[Event], x: Event) -> list[Event]:
    """What was known at x; of a transaction that was not, its fraud was if its label was."""
    past = [learnt_by(event, x.time) for event in events if is_past(event, x)]
    return [event for event in past if event.id == x.id or event.known_at <= x.time or event.labels]


def with_another_future(events: Sequence[Event], x: Event) -> list[Event]:
    """Whatever was not known at x happened in another way."""

    def told(event: Event) -> Event:
        known = learnt_by(event, x.time)
        later = tuple(
            (time, source, not is_fraud) for time, source, is_fraud in event.labels if time > x.time
        )
        return replace(
            known,
            labels=known.labels + later + ((x.time + 1, "police", True),),
            status="declined" if event.status_time > x.time else event.status,
            status_time=event.status_time,
        )

    def imagined(event: Event) -> Event:
        other = {"risk": None if event.numbers["risk"] else 1.0}
        event = replace(event, amount=7 - event.amount, numbers=other, texts={"channel": "web"})
        if is_past(event, x):
            return replace(event, kind="purchase")
        return replace(event, entities=x.entities, kind="purchase", known_at=event.time)

    changed = []
    for event in events:
        is_known = event.id == x.id or (is_past(event, x) and event.known_at <= x.time)
        changed.append(told(event) if is_known else imagined(told(event)))
    return changed


def row_of(events: Sequence[Event], x: Event) -> dict[str, float]:
    place = next(place for place, event in enumerate(events) if event.id == x.id)
    return {name: column[place] for name, column in batch_features(FEATURES, events).items()}


def check(events: list[Event], place: int, change: Callable[[Sequence[Event], Event], list[Event]]) -> None:
    candidates = scored(events)
    assume(candidates)
    x = candidates[place % len(candidates)]
    whole = row_of(events, x)
    assert differences(row_of(change(events, x), x), whole) == {}


@thorough
@given(histories(), st.integers(0, 20))
def test_without_the_future_features_are_the_same(events, place):
    check(events, place, without_the_future)


@thorough
@given(histories(), st.integers(0, 20))
def test_with_another_future_features_are_the_same(events, place):
    check(events, place, with_another_future)


@thorough
@given(histories(), st.randoms())
def test_order_of_rows_does_not_change_features(events, random):
    shuffled = random.sample(events, len(events))
    first, second = batch_features(FEATURES, events), batch_features(FEATURES, shuffled)
    for name in FEATURES.names:
        np.testing.assert_array_equal(second[name][[shuffled.index(event) for event in events]], first[name])
