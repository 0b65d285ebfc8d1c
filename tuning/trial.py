"""A trial as Ray Tune runs it: an actor that one trial after the other is given to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from ray.tune import Trainable

from tuning.curve import Curves, Point
from tuning.work import Work

VALUE: Final = "value"
ROUND: Final = "round"
ROUNDS: Final = "rounds"
"""The names in a report, as in ``Point``."""

Config = dict[str, int | float]


class TrialActor(Trainable):  # type: ignore[misc]
    """Draws the curve of a trial, a point a step; the next trial finds the matrices built."""

    def setup(self, config: Config, work: Work) -> None:
        """Take the first trial."""
        self._curves = Curves(work)
        self.reset_config(config)

    def reset_config(self, new_config: Config) -> bool:
        """Take another trial; says that this actor can."""
        self._points: Iterator[Point] = self._curves.draw(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train to the next point, and report it to the scheduler."""
        return asdict(next(self._points))
