"""Where the lake's history begins: a window that reaches further back is not complete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from fraud import schema
from fraud.features.facts import Bools, Ints
from fraud.features.spec import FeatureSet
from fraud.features.window import DAY_US, NEVER
from fraud.jobs.entity_numbers import integers
from fraud.storage.lake import Lake, Part


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
    """Read where history begins off the oldest files of ``transactions``.

    Older days that come late make no row complete that could not know them.
    """
    event, known = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for part in lake.parts(schema.TRANSACTIONS, version=version):
        if min((int(each.min()) for each in known if len(each)), default=NEVER) <= _midnight(part):
            break  # what this day and later ones hold is younger than what was known by then
        table = lake.read_part(schema.TRANSACTIONS, part, ["event_time", "known_at"])
        event.append(integers(table, "event_time"))
        known.append(integers(table, "known_at"))
    order = np.argsort(np.concatenate(known))
    oldest = np.minimum.accumulate(np.concatenate(event)[order])
    reach = round(feature_set.history.total_seconds() * 1_000_000)
    return History(np.concatenate(known)[order], oldest, reach)


def _midnight(part: Part) -> int:
    return (part.day - date(1970, 1, 1)).days * DAY_US
