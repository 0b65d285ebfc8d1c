"""Random histories whose times fall on the windows' edges, and a feature set that asks for everything."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fraud.features.definition import Event
from fraud.features.spec import FeatureSet, load_text
from fraud.schema import tie

HOUR = 3_600_000_000
ORIGIN = 1_500_000_000 * 1_000_000

FEATURES = load_text(
    """
format_version: 1
name: parity
time_zone: Europe/Berlin
features:
  - column: amount
  - column: risk
  - {calendar: hour}
  - {calendar: night, hours: [0, 6]}
  - {categorical: channel, values: [web, shop]}
  - {categorical: kind, values: [verification]}
  - {window: card_id, of: amount, stats: [count, sum, mean, std, min, max], spans: [1h, 5h]}
  - {window: card_id, of: amount, stats: [count, sum, std, max], spans: [3h], include_self: false, empty: 0}
  - {window: card_id, of: amount, stats: [count, mean, min, seconds_since_last], spans: [2h, 6h], delay: 2h}
  - {window: card_id, of: risk, stats: [sum, mean, std, min, max], spans: [2h, 6h]}
  - {window: card_id, of: risk, stats: [count, mean, max], spans: [4h], include_self: false, empty: -1}
  - {window: card_id, of: fraud, stats: [count, sum, mean, seconds_since_last], spans: [4h, 9h], delay: 1h}
  - {window: terminal_id, of: fraud, stats: [sum, mean], spans: [8h], delay: 30m, empty: 0}
  - {window: terminal_id, stats: [count, first_time, seconds_since_last], spans: [3h, 8h]}
  - {window: card_id, of: terminal_id, stats: [distinct, first_time], spans: [2h, 8h]}
  - {window: card_id, of: kind, stats: [distinct, first_time], spans: [6h], where: {kind: [purchase, refund]}}
  - {window: terminal_id, of: card_id, stats: [distinct, first_time], spans: [5h], where: {terminal_id: s}}
  - {window: card_id, of: channel, stats: [distinct, first_time], spans: [5h], include_self: false}
  - {window: [card_id, terminal_id], of: amount, stats: [count, max, seconds_since_last], spans: [6h]}
  - {window: [card_id, terminal_id], of: fraud, stats: [mean], spans: [9h], delay: 1h}
  - {window: card_id, of: amount, stats: [count, sum], spans: [6h], where: {kind: [refund]}}
  - {window: card_id, of: amount, stats: [count, mean], spans: [6h], where: {kind: [purchase, refund]}}
  - {window: card_id, stats: [count, seconds_since_last], spans: [6h], where: {status: [declined]}}
  - {window: card_id, stats: [count, first_time, seconds_since_last], spans: [5h], where: {channel: [web]}}
  - {window: card_id, of: risk, stats: [mean], spans: [6h], where: {status: [declined, reversed]}, delay: 30m}
  - {window: card_id, of: terminal_id, stats: [distinct, first_time], spans: [6h], where: {channel: [web]}}
  - {window: card_id, of: amount, stats: [mean], spans: [7h], include_self: false}
  - {zscore: amount, window: card_id, spans: [3h, 7h], floor: 2}
  - {zscore: risk, window: terminal_id, spans: [6h], delay: 1h}
  - {ratio: amount, to: card_id_amount_mean_7h_before}
  - {difference: card_id_amount_mean_5h, minus: card_id_amount_mean_6h_delay_2h}
""",
    "parity",
)

thorough = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A history is large: on a busy machine it takes its time to be drawn."""


class Dice:
    """Choices made of drawn bytes: one draw for an event with all of its columns, which still shrinks."""

    def __init__(self, drawn: bytes) -> None:
        self._drawn = iter(drawn)

    def pick(self, *options: Any) -> Any:
        return options[next(self._drawn) % len(options)]

    def below(self, limit: int) -> int:
        return int.from_bytes(bytes(next(self._drawn) for _ in range(4)), "big") % limit


def event_of(number: int, dice: Dice) -> Event:
    # Half-hours, one microsecond either side: the draws must land on the windows' edges.
    time = ORIGIN + dice.below(21) * HOUR // 2 + dice.pick(0, 0, 0, 0, -1, 1)

    def later() -> int:
        return int(dice.pick(0, 0, 0, HOUR // 2, 3 * HOUR, 30 * HOUR))

    # A label must often come in time for a window that ends an hour before, and be withdrawn inside it.
    said = {
        (time + dice.pick(0, 0, HOUR // 2, HOUR - 1, HOUR, HOUR + 1, 4 * HOUR), dice.pick("bank", "api")): (
            dice.pick(True, True, False)
        )
        for _ in range(dice.pick(0, 0, 1, 1, 2, 3))
    }
    status = dice.pick(None, "approved", "declined", "reversed")
    return Event(
        str(number),
        None,
        time,
        tie(str(number)),
        time + later(),
        dice.pick(0, 1, -5, 5, dice.below(10**9)),
        tuple((at, source, is_fraud) for (at, source), is_fraud in said.items()),
        dice.pick("purchase", "purchase", "purchase", "verification", "refund", "reversal"),
        status,
        dice.pick(0, time + later()) if status else 0,
        {"card_id": dice.pick("a", "a", "a", "a", "b", None), "terminal_id": dice.pick("s", "s", "t", None)},
        {"risk": dice.pick(None, 0.1, 0.1, -2.5, 5e6, -1e300, dice.below(10**9) / 1e5 - 5e3)},
        {"channel": dice.pick("web", "shop", "post", None)},
    )


@st.composite
def histories(draw, most: int = 20) -> list[Event]:
    drawn = draw(st.lists(st.binary(min_size=40, max_size=40), min_size=8, max_size=most))
    return [event_of(number, Dice(one)) for number, one in enumerate(drawn)]


def random_events(feature_set: FeatureSet, n: int, *, days: int, seed: int) -> list[Event]:
    """Half-hours over some days; a third of everything that may be missing or late is."""
    rng = np.random.default_rng(seed)

    def some(*values: str | float | None) -> str | float | None:
        return values[rng.integers(len(values))]

    def later() -> int:
        return int(some(0, 0, HOUR // 2, 24 * HOUR))

    events = []
    for number in range(n):
        time = ORIGIN + int(rng.integers(days * 48)) * HOUR // 2
        status = some(None, "approved", "declined")
        labels = [(time + 7 * 24 * HOUR + later(), "bank", True)] if rng.random() < 0.2 else []
        labels += [(time + 9 * 24 * HOUR, "bank", False)] if rng.random() < 0.1 else []
        events.append(
            Event(
                str(number),
                None,
                time,
                tie(str(number)),
                time + later(),
                int(rng.integers(-5, 30_000)),
                tuple(labels),
                str(some("purchase", "purchase", "verification", "refund", "reversal")),
                status,
                time + later() if status == "declined" else 0,
                {name: some("a", "b", None) for name in feature_set.entities},
                {name: some(None, 0.1, -3.7, 5e6) for name in feature_set.numbers},
                {name: some("web", "phone", "other", None) for name in feature_set.texts},
            )
        )
    return events
