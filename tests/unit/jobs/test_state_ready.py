"""A model becomes champion where the online state answers its features, and has caught up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from factories import label_table, random_history, transaction_table

from fraud.features import spec
from fraud.features.spec import FeatureSet
from fraud.jobs import state, state_follow, state_ready
from fraud.model.gate import Check
from fraud.storage.lake import Lake

START = datetime(2020, 1, 1, tzinfo=UTC)
HOUR_S = 3600.0


def features(span: str) -> FeatureSet:
    text = f"[{{window: card_id, of: amount, stats: [mean], spans: [{span}]}}]"
    return spec.load_text(
        f"{{format_version: 1, name: set-{span}, time_zone: UTC, features: {text}}}", "test"
    )


NARROW, WIDE = features("1d"), features("3d")


@pytest.fixture
def path(lake: Lake, tmp_path: Path) -> Path:
    transactions, labels = random_history(100, days=10, seed=1, start=START)
    lake.append("transactions", transactions)
    lake.append("labels", labels)
    state.build(lake, [NARROW], tmp_path / "state")
    return tmp_path / "state"


def ready(lake: Lake, path: Path, feature_set: FeatureSet = NARROW, *, in_s: float = 0) -> Check:
    now = datetime.now(UTC) + timedelta(seconds=in_s)
    return state_ready.check(lake, path, feature_set, max_lag_s=HOUR_S, now=now)


def append(lake: Lake) -> None:
    new = {"transaction_id": "new", "event_time": START + timedelta(days=11), "card_id": "c1"}
    lake.append("transactions", transaction_table([new]))
    lake.append("labels", label_table([{**new, "label_time": START + timedelta(days=12)}]))


def test_state_that_answers_and_has_read_everything_is_ready(lake: Lake, path: Path) -> None:
    found = ready(lake, path)
    assert (found.passed, found.value) == (True, 0.0)


def test_features_that_the_state_lacks_are_refused_with_a_way_out(lake: Lake, path: Path) -> None:
    found = ready(lake, path, WIDE)
    assert not found.passed
    assert "make the model the challenger" in found.says


def test_state_that_follows_may_lack_the_newest_rows(lake: Lake, path: Path) -> None:
    append(lake)
    found = ready(lake, path, in_s=60)
    assert found.passed
    assert found.value == pytest.approx(60, abs=30)


def test_state_that_nobody_follows_up_is_refused_until_it_has_caught_up(lake: Lake, path: Path) -> None:
    append(lake)
    found = ready(lake, path, in_s=2 * HOUR_S)
    assert not found.passed
    assert "run `fraud state follow`" in found.says
    state_follow.follow(lake, path)
    assert ready(lake, path, in_s=2 * HOUR_S).passed


def test_state_as_of_a_day_is_behind(lake: Lake, path: Path) -> None:
    state.build(lake, [NARROW], path, as_of=START + timedelta(days=5))
    assert not ready(lake, path).passed
