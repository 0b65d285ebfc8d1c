"""Where the lake's history begins: a window that reaches further back is not complete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from fraud import schema
from fraud.features.facts import Bools, Ints
from fraud.features.spec import FeatureSet
from fraud.storage.lake import Lake

_MICROSECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class History:
    """What was the oldest event known, as it came to be known.

    Attributes:
        known: From when on, microseconds, ascending, shape ``(k,)``.
        oldest: The oldest event time known since then, descending, shape ``(k,)``.
        reach_us: How far back the windows of a feature set go.
    """

    known: Ints
    oldest: Ints
    reach_us: int

    def complete(self, event_time: Ints) -> Bools:
        """Tell which transactions' windows lie within the known history, shape ``(n,)``."""
        if not self.reach_us:
            return np.ones(len(event_time), np.bool_)
        place = np.searchsorted(self.known, event_time, "right") - 1
        oldest = self.oldest[np.maximum(place, 0)]
        return np.asarray((place >= 0) & (oldest <= event_time - self.reach_us), np.bool_)


def history_of(lake: Lake, feature_set: FeatureSet, version: int) -> History:
    """Read where history begins off the footers of the oldest files of ``transactions``.

    A file counts from the time its first row was known: a file of older days that comes late makes no earlier
    row complete.
    """
    known: list[int] = []
    oldest: list[int] = []
    for part in lake.parts(schema.TRANSACTIONS, version=version):
        day = datetime.combine(part.event_date, datetime.min.time(), UTC) if part.event_date else None
        if known and day is not None and known[-1] <= _micros(day):
            break  # no later day's file can be known earlier or hold anything older
        least = lake.part_minimum(schema.TRANSACTIONS, part, "known_at")
        if least is not None and (not known or _micros(least) < known[-1]):
            known.append(_micros(least))
            oldest.append(_micros(lake.part_minimum(schema.TRANSACTIONS, part, "event_time")))
    reach = round(feature_set.history.total_seconds() * _MICROSECOND)
    running = np.minimum.accumulate(np.array(oldest[::-1], np.int64))
    return History(np.array(known[::-1], np.int64), running, reach)


def _micros(at: datetime) -> int:
    return round(at.timestamp() * _MICROSECOND)
