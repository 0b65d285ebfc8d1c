"""docs/features.md is what the code and the shipped sets say."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from fraud.features.guide import guide
from fraud.features.kinds import KINDS
from fraud.features.spec import load
from fraud.features.statistics import Stat

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "configs" / "features"
NAMES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
SETS = [load(name, FOLDER) for name in NAMES]


def test_page_is_not_stale():
    page = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert page == guide(SETS), "run make docs"


def test_every_kind_key_and_statistic_is_explained():
    page = guide([])
    for kind in KINDS.values():
        assert f"\n### {kind.keyword}\n" in page
        for name, field in kind.model_fields.items():
            assert f"| `{field.alias or name}` |" in page
    assert all(f"\n| `{stat}` |" in page for stat in get_args(Stat))


def test_every_shipped_feature_is_listed():
    page = guide(SETS)
    assert NAMES == ["card_not_present", "handbook", "rich"]
    assert all(f"\n| `{name}` |" in page for feature_set in SETS for name in feature_set.names)


def test_rich_begins_with_the_handbook_and_uses_every_kind_its_data_can_feed():
    rich, handbook = load("rich", FOLDER), load("handbook", FOLDER)
    assert rich.names[:15] == handbook.names
    assert rich.attributes == ()
    kinds = {declaration.keyword for declaration in rich.declarations}
    assert kinds == set(KINDS) - {"categorical"}


def test_shipped_sets_use_every_statistic():
    stats = {stat for shipped in SETS for window in shipped.windows for stat in window.stats}
    assert stats == set(get_args(Stat))


def test_card_not_present_has_no_terminal_and_many_entities():
    features = load("card_not_present", FOLDER)
    assert "terminal_id" not in features.entities
    assert len(features.entities) == 6
    assert {"refund"} < set(features.kinds)


@pytest.mark.parametrize("feature_set", SETS, ids=NAMES)
def test_shipped_set_keeps_a_year_of_history_at_most(feature_set):
    assert feature_set.history.days <= 365
