"""Work that is done again and again in a thread of its own, and that nothing stops."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from fraud.errors import FraudError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """What to do, and how often.

    Attributes:
        name: For the log.
        every_s: Seconds between two times; a tenth more or less, so that nodes part.
        work: Does it once.
    """

    name: str
    every_s: float
    work: Callable[[], object]

    def repeat(self, stop: Event) -> None:
        """Do it until told to stop; what goes wrong is said once, and tried again."""
        told = ""
        while not stop.wait(self.every_s * random.uniform(0.9, 1.1)):  # noqa: S311
            told = self._once(told)

    def _once(self, told: str) -> str:
        """Do it; return what went wrong."""
        try:
            self.work()
        except FraudError as error:
            problem = str(error)
            if problem != told:
                logger.warning("%s: not done, tried again", self.name, extra={"reason": problem})
            return problem
        except Exception as error:
            problem = repr(error)
            if problem != told:
                logger.exception("%s: failed, tried again", self.name)
            return problem
        if told:
            logger.warning("%s: done again", self.name)
        return ""
