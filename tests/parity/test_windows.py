"""The batch and the naive oracle give the same features, to the last bit."""

from __future__ import annotations

from executors import batch_features, differences, scored
from histories import FEATURES, histories
from hypothesis import given, settings
from naive import naive_features


@settings(max_examples=60, deadline=None)
@given(histories())
def test_batch_and_the_naive_oracle_agree(events):
    columns = batch_features(FEATURES, events)
    assert tuple(columns) == FEATURES.names
    for x in scored(events):
        row = {name: column[events.index(x)] for name, column in columns.items()}
        assert differences(row, naive_features(FEATURES, events, x)) == {}
