"""What a featurize run has to do: which files are new, which must be done again, which lend their history.

The features of a row follow from facts and from the times at which they were known. New facts change rows
that were featurized before only where they claim to have been known earlier: a file that comes out of order,
a label delivered after its label time. The days of such rows are computed again, so that the features are
those of a computation from the tables as they are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from fraud import schema
from fraud.features.facts import Ints
from fraud.features.spec import FeatureSet
from fraud.features.window import DAY_US
from fraud.jobs.entity_numbers import integers
from fraud.jobs.feature_steps import File, Group, features_stem
from fraud.jobs.waves import oldest_day
from fraud.storage.lake import Lake, Part

APP: Final = "featurize"
"""Features are committed under this application id, with the version of ``transactions`` they cover."""
LABELS_APP: Final = "featurize-labels"
"""And under this one with the version of ``labels``, counted from 1; 0 is no table."""

_GROUPS: Final = 8
"""At least so many, where there are as many files: the work of few is hard to share."""

_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Attributes:
        groups: The files to read, in the order of their days.
        new: Files of ``transactions`` that had no features.
        again: Files whose features are computed again.
        outdated: Features files that the new ones replace, or whose transactions file is gone.
    """

    groups: tuple[Group, ...]
    new: tuple[Part, ...]
    again: tuple[Part, ...]
    outdated: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """Rows of all files to read."""
        return sum(group.rows for group in self.groups)


def labels_version(lake: Lake) -> int:
    """The version of ``labels`` counted from 1, 0 where there is none."""
    version = lake.version(schema.LABELS)
    return 0 if version is None else version + 1


def plan(lake: Lake, feature_set: FeatureSet, version: int, labels: int, *, group_rows: int) -> Plan:
    """Compare the tables with what was featurized.

    Args:
        lake: Holds the tables.
        feature_set: Of the features.
        version: Of ``transactions``.
        labels: Of ``labels``, see ``labels_version``.
        group_rows: Rows of a group of files, about.
    """
    parts = lake.parts(schema.TRANSACTIONS, version=version)
    done = lake.app_version(feature_set.table, APP)
    before = set() if done is None else _paths(lake.parts(schema.TRANSACTIONS, version=done))
    new = [part for part in parts if part.path not in before]
    old = [part for part in parts if part.path in before]
    touched = _touched_days(lake, feature_set, old, new, labels) if old else set()
    again = [part for part in old if part.day in touched]
    asked = _paths([*new, *again])
    reached = _Reach(sorted({part.day for part in (*new, *again)}), feature_set.history)
    files = [File(part, part.path in asked) for part in parts if part.path in asked or reached(part.day)]
    held = sum(file.part.rows for file in files)
    return Plan(
        tuple(_groups(files, min(group_rows, 1 + held // _GROUPS))) if asked else (),
        tuple(new),
        tuple(again),
        tuple(_outdated(lake, feature_set, kept=[part for part in old if part.path not in asked])),
    )


def _paths(parts: Iterable[Part]) -> set[str]:
    return {part.path for part in parts}


def _outdated(lake: Lake, feature_set: FeatureSet, kept: Sequence[Part]) -> list[Part]:
    if not lake.exists(feature_set.table):
        return []
    valid = {features_stem(part) for part in kept}
    found = lake.parts(feature_set.table)
    return [part for part in found if features_stem(part).rsplit("-", 1)[0] not in valid]


@dataclass(frozen=True, slots=True)
class _Reach:
    """Tells whether a window of any asked day reaches into a day."""

    asked: list[date]
    history: timedelta

    def __call__(self, day: date) -> bool:
        place = bisect_left(self.asked, day)
        if place == len(self.asked):
            return False
        return oldest_day(self.asked[place], self.history) <= day


def _groups(files: Sequence[File], rows: int) -> list[Group]:
    """Successive files of about so many rows; a day is shared by groups only where it is larger than that."""
    chunks: list[list[File]] = [[]]
    for file in files:
        held = sum(each.part.rows for each in chunks[-1])
        same_day = bool(chunks[-1]) and chunks[-1][-1].part.day == file.part.day
        if held >= (2 * rows if same_day else rows):
            chunks.append([])
        chunks[-1].append(file)
    edges = [(chunk[0].part.day, chunk[-1].part.day) for chunk in chunks]
    return [
        Group(
            tuple(chunk),
            shared=any(
                edges[other][side] in edges[number]
                for other, side in ((number - 1, 1), (number + 1, 0))
                if 0 <= other < len(chunks)
            ),
        )
        for number, chunk in enumerate(chunks)
    ]


def _touched_days(
    lake: Lake, feature_set: FeatureSet, old: Sequence[Part], new: Sequence[Part], labels: int
) -> set[date]:
    """Days of featurized rows that see a fact which is new."""
    newest = max(part.day for part in old)
    seen = [
        *_seen_transactions(lake, feature_set, new),
        *_seen_labels(lake, feature_set, labels),
    ]
    touched: set[date] = set()
    for first, last in seen:
        touched |= _days(first, last, newest)
    return touched


def _seen_transactions(lake: Lake, feature_set: FeatureSet, new: Sequence[Part]) -> list[tuple[Ints, Ints]]:
    """From when until when a row may see each new transaction, microseconds."""
    if not feature_set.windows:
        return []
    delay = min(window.delay for window in feature_set.windows)
    reach = max(window.delay + max(window.spans) for window in feature_set.windows)
    seen = []
    for part in new:
        table = lake.read_part(schema.TRANSACTIONS, part, ["event_time", "known_at"])
        time, known = integers(table, "event_time"), integers(table, "known_at")
        seen.append((np.maximum(time + delay, known), time + reach))
    return seen


def _seen_labels(lake: Lake, feature_set: FeatureSet, version: int) -> list[tuple[Ints, Ints]]:
    """From when until when a row may see each new label, microseconds."""
    windows = [window for window in feature_set.windows if window.of == "fraud"]
    done = lake.app_version(feature_set.table, LABELS_APP) or 0
    if not windows or version <= done:
        return []
    before = _paths(lake.parts(schema.LABELS, version=done - 1)) if done else set()
    parts = [part for part in lake.parts(schema.LABELS, version=version - 1) if part.path not in before]
    seen = []
    for part in parts:
        table = lake.read_part(schema.LABELS, part, ["event_time", "label_time"])
        time, known = integers(table, "event_time"), integers(table, "label_time")
        seen += [
            (np.maximum(time + window.delay, known), time + window.delay + max(window.spans))
            for window in windows
        ]
    return seen


def _days(first: Ints, last: Ints, newest: date) -> set[date]:
    """The days from ``first`` to before ``last``, none after ``newest``."""
    begin = first // DAY_US
    end = np.minimum((last - 1) // DAY_US, (newest - _EPOCH).days)
    held = begin <= end
    spans = np.unique(np.stack([begin[held], end[held]]), axis=1)
    return {_EPOCH + timedelta(days=int(day)) for one, other in spans.T for day in range(one, other + 1)}
