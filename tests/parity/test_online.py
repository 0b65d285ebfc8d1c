"""The online executor and the naive oracle give the same features, to the last bit."""

from __future__ import annotations

import pytest
from executors import differences, scored
from histories import FEATURES, histories
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import OnlineState

from fraud.features import track
from fraud.features.definition import naive_features


@pytest.fixture(autouse=True, params=[20_000, 160, 1], ids=["a head", "chunks", "chunks of one"])
def _chunks(request, monkeypatch):
    monkeypatch.setattr(track, "CHUNK_BYTES", request.param)
    monkeypatch.setattr(track.Track, "chunk_rows", lambda _, rows: max(1, track.CHUNK_BYTES // rows.itemsize))


@settings(max_examples=20, deadline=None)
@given(histories(), st.randoms())
def test_online_and_the_naive_oracle_agree_in_whatever_order_facts_arrive(events, order):
    state = OnlineState([FEATURES])
    facts = [(event, label) for event in events for label in (None, *event.labels)]
    order.shuffle(facts)
    for event, label in facts:
        if label is None:
            state.insert(FEATURES, event)
        else:
            state.label(event, label)
    for x in scored(events):
        assert differences(state.features(FEATURES, x), naive_features(FEATURES, events, x)) == {}
