"""The batch and the naive oracle give the same features, to the last bit."""

from __future__ import annotations

from executors import batch_features, differences, scored
from histories import FEATURES, histories, thorough
from hypothesis import given

from fraud.features.definition import naive_features


@thorough
@given(histories())
def test_batch_and_the_naive_oracle_agree(events):
    columns = batch_features(FEATURES, events)
    assert tuple(columns) == FEATURES.names
    for x in scored(events):
        row = {name: column[events.index(x)] for name, column in columns.items()}
        assert differences(row, naive_features(FEATURES, events, x)) == {}
