"""What the online state answers; where models need more, a wider one is built meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from fraud.errors import ConfigError
from fraud.features.layout import Layout
from fraud.features.spec import FeatureSet

_PAUSE_S: Final = 60.0
"""After a build that failed."""

logger = logging.getLogger(__name__)


class Cover:
    """Knows what the state keeps, and has a wider one built, one at a time."""

    def __init__(
        self,
        layout: Callable[[], Layout],
        widen: Callable[[Sequence[FeatureSet]], Future[str | None]],
        tell: Callable[[str | None], None],
    ) -> None:
        """Build nothing yet.

        Args:
            layout: Returns what the state keeps now.
            widen: Begins to build a state that serves these features besides, and puts it in the place; ends
                in what went wrong, None for nothing.
            tell: Is told what is being built, None once it is done.
        """
        self._layout = layout
        self._widen = widen
        self._tell = tell
        self._building: Future[str | None] | None = None
        self._again = 0.0

    def covers(self, feature_sets: Sequence[FeatureSet]) -> bool:
        """Return whether the state answers all of them; where it does not, one is built that will."""
        if self._building is not None and self._building.done():
            self._finish(self._building)
        kept = self._layout()
        if all(kept.covers(each) for each in feature_sets):
            return True
        if self._building is None and time.monotonic() >= self._again:
            names = ", ".join(f"{each.name} ({each.version[:8]})" for each in feature_sets)
            self._tell(f"an online state for the features {names}")
            logger.warning("a wider online state is built", extra={"features": names})
            self._building = self._widen(feature_sets)
        return False

    def _finish(self, built: Future[str | None]) -> None:
        self._building = None
        self._tell(None)
        self._again = time.monotonic() + _PAUSE_S
        problem = built.result()
        if problem is not None:
            raise ConfigError("online state", problem)
        self._again = 0.0
        logger.warning("the wider online state serves")
