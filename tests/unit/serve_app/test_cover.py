"""A state that lacks what a model needs is replaced by a wider one, built once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import pytest
from factories_serve import FEATURE_SET, FEATURES

from fraud.errors import ConfigError
from fraud.features import spec
from fraud.features.layout import Layout
from fraud.features.spec import FeatureSet
from serve_app.cover import Cover

OTHER = spec.load_text(FEATURES.replace("spans: [1d]", "spans: [3d]"), "other.yaml")


class Building:
    """A state, and builds of it that end when the test says so."""

    def __init__(self) -> None:
        self.layout = Layout.of([FEATURE_SET])
        self.began: list[tuple[FeatureSet, ...]] = []
        self.told: list[str | None] = []
        self.build: Future[str | None] = Future()
        self.cover = Cover(lambda: self.layout, self.widen, self.told.append)

    def widen(self, feature_sets: Sequence[FeatureSet]) -> Future[str | None]:
        self.began.append(tuple(feature_sets))
        self.build = Future()
        return self.build


def test_state_that_answers_is_left_alone() -> None:
    building = Building()
    assert building.cover.covers([FEATURE_SET])
    assert building.began == []


def test_wider_state_is_built_once_and_covers_when_it_is_done() -> None:
    building = Building()
    assert not building.cover.covers([FEATURE_SET, OTHER])
    assert not building.cover.covers([FEATURE_SET, OTHER])
    # What is there goes on to be answered meanwhile.
    assert building.cover.covers([FEATURE_SET])
    assert building.began == [(FEATURE_SET, OTHER)]
    assert building.told == [f"an online state for the features {_named(FEATURE_SET)}, {_named(OTHER)}"]
    building.layout = Layout.of([FEATURE_SET, OTHER])
    building.build.set_result(None)
    assert building.cover.covers([FEATURE_SET, OTHER])
    assert building.told[-1] is None


def test_failed_build_is_told_and_not_begun_again_at_once() -> None:
    building = Building()
    building.cover.covers([OTHER])
    building.build.set_result("the lake has no column distance_km")
    with pytest.raises(ConfigError, match="distance_km"):
        building.cover.covers([OTHER])
    assert not building.cover.covers([OTHER])
    assert len(building.began) == 1


def _named(feature_set: FeatureSet) -> str:
    return f"{feature_set.name} ({feature_set.version[:8]})"
