"""Batch, online and the naive oracle give the same windows, to the last bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import Event, naive_window

from fraud.features.batch import Frauds, Transactions, window_features
from fraud.features.online import EntityHistory, OnlineTransaction, online_features
from fraud.features.spec import FeatureSet, load_text
from fraud.features.window import fraud_spans
from fraud.schema import tie

HOUR = 3_600_000_000
ORIGIN = 1_500_000_000 * 1_000_000

FEATURES = load_text(
    """
format_version: 1
name: parity
time_zone: UTC
features:
  - {window: card_id, of: amount, stats: [count, sum, mean], spans: [1h, 5h], empty: 0}
  - {window: card_id, of: amount, stats: [sum], spans: [3h], include_self: false}
  - {window: card_id, of: amount, stats: [count, mean], spans: [2h, 6h], delay: 2h}
  - {window: card_id, of: fraud, stats: [count, sum, mean], spans: [4h, 9h], delay: 1h, empty: 0}
""",
    "parity",
)

# Half-hours, one microsecond either side: the draws must land on the windows' edges.
instants = st.builds(
    lambda half_hours, jitter: ORIGIN + half_hours * HOUR // 2 + jitter,
    st.integers(0, 40),
    st.sampled_from([-1, 0, 0, 0, 1]),
)
labels = st.lists(
    st.tuples(instants, st.sampled_from(["bank", "api"]), st.booleans()),
    max_size=3,
    unique_by=lambda label: label[:2],
)


@st.composite
def histories(draw) -> list[Event]:
    n = draw(st.integers(1, 25))
    events = []
    for number in range(n):
        time = draw(instants)
        late = draw(st.sampled_from([0, 0, 0, HOUR // 2, 3 * HOUR, 30 * HOUR]))
        said = tuple(label for label in draw(labels) if label[0] >= time)
        entity = draw(st.sampled_from(["a", "b", "c"]))
        events.append(
            Event(str(number), entity, time, tie(str(number)), time + late, draw(st.integers(0, 10**9)), said)
        )
    return events


def batch(feature_set: FeatureSet, events: list[Event]) -> dict[str, np.ndarray]:
    def column(values):
        return np.array(list(values), np.int64)

    transactions = Transactions(
        column(ord(event.entity) for event in events),
        column(event.time for event in events),
        column(event.tie for event in events),
        column(event.known_at for event in events),
        column(event.amount for event in events),
    )
    spans = [(event, span) for event in events for span in fraud_spans(event.labels)]
    frauds = Frauds(
        column(ord(event.entity) for event, _ in spans),
        column(event.time for event, _ in spans),
        column(known for _, (known, _) in spans),
        column(withdrawn for _, (_, withdrawn) in spans),
    )
    return window_features(feature_set.windows, transactions, frauds)


def online(feature_set: FeatureSet, events: list[Event], x: Event) -> dict[str, float]:
    """What the endpoint would compute for x, with the facts recorded in the order in which they arrived."""
    history = EntityHistory()
    for event in sorted(events, key=lambda event: (event.known_at, event.time, event.tie)):
        if event.entity == x.entity and event is not x:
            history = history.record(event.time, event.tie, event.known_at, event.amount)
        if event.entity == x.entity:
            for label in event.labels:
                history = history.label(event.time, event.tie, label)
    transaction = OnlineTransaction(
        x.id, x.time, "purchase", x.amount, "EUR", x.amount, {"card_id": x.entity}, {}
    )
    return dict(
        zip(feature_set.names, online_features(feature_set, transaction, {"card_id": history}), strict=True)
    )


def oracle(feature_set: FeatureSet, events: list[Event], x: Event) -> dict[str, float]:
    values: dict[str, float] = {}
    for window in feature_set.windows:
        values |= naive_window(window, events, x)
    return values


@settings(max_examples=200, deadline=None)
@given(histories())
def test_batch_online_and_the_naive_oracle_agree(events):
    columns = batch(FEATURES, events)
    for position, x in enumerate(events):
        expected = oracle(FEATURES, events, x)
        np.testing.assert_equal({name: columns[name][position] for name in FEATURES.names}, expected)
        np.testing.assert_equal(online(FEATURES, events, x), expected)


@settings(max_examples=100, deadline=None)
@given(histories(), instants)
def test_nothing_after_a_transaction_changes_its_features(events, t):
    before = [event for event in events if event.time <= t and event.known_at <= t]
    # Labels younger than t are forgotten, and transactions after t never happened.
    past = [
        Event(
            e.id,
            e.entity,
            e.time,
            e.tie,
            e.known_at,
            e.amount,
            tuple(label for label in e.labels if label[0] <= t),
        )
        for e in before
    ]
    whole = batch(FEATURES, events)
    for position, event in enumerate(past):
        if event.time != t:
            continue
        at = events.index(before[position])
        alone = batch(FEATURES, past)
        for name in FEATURES.names:
            np.testing.assert_equal(alone[name][position], whole[name][at], err_msg=name)


def test_order_of_rows_does_not_change_features():
    rng = np.random.default_rng(5)
    events = [
        Event(
            str(n),
            "ab"[rng.integers(2)],
            ORIGIN + int(rng.integers(20)) * HOUR,
            int(n),
            ORIGIN,
            int(rng.integers(1000)),
        )
        for n in range(50)
    ]
    events = [Event(e.id, e.entity, e.time, e.tie, e.time, e.amount) for e in events]
    shuffled = [events[i] for i in rng.permutation(len(events))]
    first, second = batch(FEATURES, events), batch(FEATURES, shuffled)
    for position, event in enumerate(shuffled):
        for name in FEATURES.names:
            np.testing.assert_equal(second[name][position], first[name][events.index(event)])
