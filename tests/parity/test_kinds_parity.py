"""Every kind of feature, as its example declares it: batch, online and oracle agree to the last bit."""

from __future__ import annotations

import pytest
from executors import batch_features, differences, scored
from histories import random_events
from kind_examples import example
from pages import OnlineState

from fraud.features.definition import naive_features
from fraud.features.kinds import KINDS


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_batch_online_and_oracle_agree_on_the_example(kind):
    feature_set = example(kind)
    events = random_events(feature_set, 80, days=30, seed=3)
    columns, state = batch_features(feature_set, events), OnlineState([feature_set])
    for event in events:
        state.insert(feature_set, event)
        for label in event.labels:
            state.label(event, label)
    for x in scored(events):
        expected = naive_features(feature_set, events, x)
        row = {name: column[events.index(x)] for name, column in columns.items()}
        assert differences(row, expected) == {}
        assert differences(state.features(feature_set, x), expected) == {}
