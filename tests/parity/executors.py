"""The executors, asked for all features of a list of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fraud.features.batch import EntityFrauds, window_features, window_names
from fraud.features.definition import Event
from fraud.features.facts import Facts, Frauds, pair_number, text_number
from fraud.features.kind import Rows
from fraud.features.row import row_features
from fraud.features.spec import FeatureSet
from fraud.features.window import fraud_spans
from fraud.schema import SCORED_KINDS


def ints(events: Sequence[Any], read: Callable[[Any], int]) -> np.ndarray:
    return np.array([read(event) for event in events], np.int64)


def texts(events: Sequence[Event], column: str) -> np.ndarray:
    return ints(events, lambda event: text_number(event.text(column)))


def numbers(events: Sequence[Event], column: str) -> np.ndarray:
    values = [event.numbers[column] for event in events]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def text_columns(feature_set: FeatureSet) -> tuple[str, ...]:
    return ("kind", "status", *feature_set.entities, *feature_set.texts)


def facts_of(feature_set: FeatureSet, events: Sequence[Event]) -> Facts:
    return Facts(
        ints(events, lambda event: event.time),
        ints(events, lambda event: event.tie),
        ints(events, lambda event: event.known_at),
        {
            "amount": ints(events, lambda event: event.amount),
            "status_time": ints(events, lambda event: event.status_time),
            **{name: numbers(events, name) for name in feature_set.numbers},
            **{name: texts(events, name) for name in text_columns(feature_set)},
        },
    )


def entity_of(columns: Sequence[str], events: Sequence[Event]) -> np.ndarray:
    first, *second = (texts(events, column) for column in columns)
    return pair_number(first, second[0]) if second else first


def frauds_of(columns: Sequence[str], events: Sequence[Event]) -> EntityFrauds:
    said = [(event, known, until) for event in events for known, until in fraud_spans(event.labels)]
    frauds = Frauds(
        ints(said, lambda one: one[0].time), ints(said, lambda one: one[1]), ints(said, lambda one: one[2])
    )
    return EntityFrauds(entity_of(columns, [event for event, _, _ in said]), frauds)


def batch_features(feature_set: FeatureSet, events: Sequence[Event]) -> dict[str, np.ndarray]:
    """Every feature of every event, shape ``(n,)``."""
    features = {}
    for windows in feature_set.keys.values():
        columns = windows[0].window
        has = [n for n, event in enumerate(events) if all(event.text(column) for column in columns)]
        known = [events[n] for n in has]
        facts, entity = facts_of(feature_set, known), entity_of(columns, known)
        found = window_features(windows, entity, facts, frauds_of(columns, known))
        for name, column in zip(window_names(windows), found.T, strict=True):
            features[name] = np.full(len(events), np.nan)
            features[name][has] = column
    rows = Rows(
        feature_set.time_zone,
        ints(events, lambda event: event.time),
        ints(events, lambda event: event.amount),
        {name: numbers(events, name) for name in feature_set.numbers},
        {name: texts(events, name) for name in text_columns(feature_set)},
        features,
    )
    return row_features(feature_set, rows)


def scored(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.kind in SCORED_KINDS]


def differences(found: Mapping[str, float], expected: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """The features that are not equal to the last bit; a missing one equals a missing one."""
    assert [*found] == [*expected]
    pairs = {name: (float(found[name]), float(expected[name])) for name in expected}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b and not (np.isnan(a) and np.isnan(b))}
