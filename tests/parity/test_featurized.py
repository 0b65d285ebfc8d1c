"""The table that featurize commits, from the lake's own tables, against the naive oracle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from executors import differences, scored
from factories import label_table, transaction_table
from histories import FEATURES, random_events

from fraud.features.definition import Event, naive_features
from fraud.features.spec import FeatureSet, load
from fraud.jobs import featurize
from fraud.settings import FeatureSettings
from fraud.storage.lake import Lake

SETS = {
    name: load(name, Path(__file__).parents[2] / "configs" / "features")
    for name in ("card_not_present", "handbook", "rich")
} | {"parity": FEATURES}


def at(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def write(lake: Lake, feature_set: FeatureSet, events: Sequence[Event]) -> None:
    transactions = [
        {
            "transaction_id": event.id,
            "event_time": at(event.time),
            "known_at": at(event.known_at),
            "kind": event.kind,
            "status": event.status,
            "status_time": at(event.status_time) if event.status_time else None,
            "amount_minor": event.amount,
            **event.entities,
            **event.numbers,
            **event.texts,
        }
        for event in events
    ]
    labels = [
        {
            "transaction_id": event.id,
            "event_time": at(event.time),
            "label_time": at(time),
            "source": source,
            "is_fraud": is_fraud,
            **event.entities,
        }
        for event in events
        for time, source, is_fraud in event.labels
    ]
    attributes = dict.fromkeys(feature_set.numbers, pa.float64()) | dict.fromkeys(
        feature_set.texts, pa.string()
    )
    entities = feature_set.entities
    lake.append("transactions", transaction_table(transactions, entities=entities, attributes=attributes))
    lake.append("labels", label_table(labels, entities=entities))


@pytest.mark.parametrize("name", SETS)
def test_table_of_features_equals_the_oracle(lake: Lake, name: str) -> None:
    feature_set = SETS[name]
    events = random_events(feature_set, 150, days=3 if name == "parity" else 60, seed=11)
    write(lake, feature_set, events)
    featurize.run(lake, feature_set, FeatureSettings(group_rows=40, wave_rows=60))
    rows = {row["transaction_id"]: row for row in lake.read(feature_set.table).to_pylist()}
    assert set(rows) == {event.id for event in scored(events)}
    for x in scored(events):
        found = {name: rows[x.id][name] for name in feature_set.names}
        assert differences(found, naive_features(feature_set, events, x)) == {}
