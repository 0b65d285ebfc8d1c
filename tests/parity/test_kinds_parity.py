"""Every kind of feature, as its example declares it: the batch and the oracle agree to the last bit."""

from __future__ import annotations

import pytest
from executors import batch_features, differences, scored
from histories import random_events
from kind_examples import example

from fraud.features.definition import naive_features
from fraud.features.kinds import KINDS


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_batch_and_oracle_agree_on_the_example(kind):
    feature_set = example(kind)
    events = random_events(feature_set, 80, days=30, seed=3)
    columns = batch_features(feature_set, events)
    for x in scored(events):
        row = {name: column[events.index(x)] for name, column in columns.items()}
        assert differences(row, naive_features(feature_set, events, x)) == {}
