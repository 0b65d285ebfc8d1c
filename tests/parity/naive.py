"""The definition of a window, written as plainly as it is stated; the oracle of the parity tests."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fraud.features.spec import Window


@dataclass(frozen=True)
class Event:
    """A transaction, with everything that was ever said about it."""

    id: str
    entity: str | None
    time: int
    tie: int
    known_at: int
    amount: int
    labels: tuple[tuple[int, str, bool], ...] = ()


def is_fraud_as_of(event: Event, t: int) -> bool:
    """The newest label known by t, or not a fraud."""
    known = [label for label in event.labels if label[0] <= t]
    return bool(known) and max(known)[2]


def sees(window: Window, span: int, x: Event, fact: Event) -> bool:
    if fact is x:
        return window.include_self and window.delay == 0
    inside = x.time - window.delay - span < fact.time <= x.time - window.delay
    earlier = window.delay > 0 or (fact.time, fact.tie) < (x.time, x.tie)
    return fact.entity == x.entity and inside and earlier and fact.known_at <= x.time


def naive_window(window: Window, events: list[Event], x: Event) -> dict[str, float]:
    values = {}
    for span in window.spans:
        if x.entity is None:
            values |= {window.name(stat, span): math.nan for stat in window.stats}
            continue
        facts = [fact for fact in events if sees(window, span, x, fact)]
        if window.of == "fraud":
            # A fraud counts from its label on, even where the transaction itself arrived later still.
            inside = [
                fact
                for fact in events
                if fact.entity == x.entity
                and x.time - window.delay - span < fact.time <= x.time - window.delay
            ]
            total = sum(is_fraud_as_of(fact, x.time) for fact in inside)
        else:
            total = sum(fact.amount for fact in facts)
        empty = math.nan if window.empty is None else window.empty
        for stat in window.stats:
            value = float(len(facts)) if stat == "count" else empty
            if stat == "sum" and facts:
                value = float(total)
            if stat == "mean" and facts:
                value = total / len(facts)
            values[window.name(stat, span)] = value
    return values
