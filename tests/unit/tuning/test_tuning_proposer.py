from __future__ import annotations

from typing import Any

from fraud.settings import TrainSettings
from tuning.journal import Finished
from tuning.proposer import planned, propose
from tuning.settings import TuneSettings
from tuning.space import SPACE

GRID = TuneSettings(grid={"rounds": (25, 100), "learning_rate": (0.1, 0.3), "max_depth": (3, 6)}, trials=3)


def drawn(tune: TuneSettings, finished: list[Finished]) -> list[dict[str, Any]]:
    search, left = propose(tune, TrainSettings(), finished)
    return [search.suggest(str(number)) for number in range(left)]


def ended(params: dict[str, Any]) -> Finished:
    return Finished(params, 0.5, 10, 10, 1.0)


def test_grid_is_every_combination_once_the_longest_first() -> None:
    points = drawn(GRID, [])
    assert planned(GRID) == len(points) == 8
    assert len({tuple(sorted(point.items())) for point in points}) == 8
    assert [point["rounds"] * point["max_depth"] for point in points] == [
        600,
        600,
        300,
        300,
        150,
        150,
        75,
        75,
    ]
    assert points[0] == {"rounds": 100, "learning_rate": 0.1, "max_depth": 6}


def test_grid_gone_on_with_leaves_out_what_ended() -> None:
    points = drawn(GRID, [])
    assert drawn(GRID, [ended(point) for point in points[1:7]]) == [points[0], points[7]]
    assert drawn(GRID, [ended(point) for point in points]) == []


def test_search_gone_on_with_proposes_the_rest_and_nothing_again() -> None:
    tune = TuneSettings(trials=6)
    first = drawn(tune, [])
    assert all(point.keys() == SPACE.keys() for point in first)
    rest = drawn(tune, [ended(point) for point in first[:4]])
    assert len(rest) == 2
    assert not [point for point in rest if point in first]
    assert drawn(tune, [ended(point) for point in [*first, *rest]]) == []


def test_search_of_the_same_seed_begins_alike() -> None:
    assert drawn(TuneSettings(trials=3, seed=4), []) == drawn(TuneSettings(trials=3, seed=4), [])
    assert drawn(TuneSettings(trials=3, seed=4), []) != drawn(TuneSettings(trials=3, seed=5), [])
