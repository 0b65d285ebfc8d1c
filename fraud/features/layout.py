"""What the online state keeps: no more of a transaction than some window of its feature sets reads.

A layout is the windows it was made for, and what follows from them: per entity the columns of its records,
the conditions and numbers that chunks are summed up by, how far back it reaches. One state serves every
feature set whose needs its layout covers, so two versions of the features can be served side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fraud.features.facts import STATUS_TIME
from fraud.features.kinds.window import Window
from fraud.features.packed import AMOUNT, Format
from fraud.features.spec import FeatureSet
from fraud.features.statistics import PARTS
from fraud.features.track import LABELS, VALUED, Entering, Labelled, Track

_Condition = tuple[tuple[str, tuple[str, ...]], ...]


def number_of(window: Window) -> str | None:
    """Return the column whose values a window adds up: ``amount`` or a numeric attribute."""
    valued = any(part in VALUED for stat in window.stats for part in PARTS[stat])
    return window.of if valued and window.of != "fraud" else None


@dataclass(frozen=True)
class KeyLayout:
    """What is kept of one entity: an id column or a pair of them.

    Attributes:
        number: Of the entity column among those of the layout.
        windows: All of this entity.
    """

    number: int
    windows: tuple[Window, ...]

    @cached_property
    def entity(self) -> tuple[str, ...]:
        """The id columns."""
        return self.windows[0].window

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of transactions that are kept."""
        return tuple(dict.fromkeys(kind for window in self.windows for kind in window.kinds))

    @cached_property
    def columns(self) -> dict[str, str]:
        """The columns of a record with their types as NumPy writes them."""
        columns: dict[str, str] = {}
        for window in self.windows:
            if number := number_of(window):
                columns[number] = "<i8" if number == AMOUNT else "<f8"
            texts = [name for name in window.conditions if name != "kind" or not self._is_of_one_mind]
            texts += [window.of_text] if window.of_text else []
            texts += [STATUS_TIME] if window.on_status else []
            columns |= dict.fromkeys(texts, "<i8")
        return columns

    @cached_property
    def transactions(self) -> Track:
        """Its transactions."""
        form = Format(tuple(self.columns.items()))
        conditions = {_condition(window): window for window in reversed(self.windows)}
        readings = tuple(Entering(conditions[condition], form) for condition in self._conditions)
        return Track(2 * self.number, form, readings, self._measures, self.history_us)

    @cached_property
    def labels(self) -> Track | None:
        """The labels of its transactions, where a window is of fraud."""
        if all(window.of != "fraud" for window in self.windows):
            return None
        return Track(2 * self.number + 1, LABELS, (Labelled(),), (), self.history_us)

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The transactions, and the labels where there are any."""
        return (self.transactions,) if self.labels is None else (self.transactions, self.labels)

    @cached_property
    def history_us(self) -> int:
        """How far back a window can look, microseconds."""
        return max(max(window.spans) + window.delay for window in self.windows)

    def reading(self, window: Window) -> int:
        """Return the number of a window's condition."""
        return self._conditions.index(_condition(window))

    def needs(self) -> tuple[object, ...]:
        """Return what must be kept, comparable."""
        columns, conditions = frozenset(self.columns.items()), frozenset(self._conditions)
        measures = frozenset((self._conditions[reading], name) for reading, name in self._measures)
        is_labelled = self.labels is not None
        return frozenset(self.kinds), columns, conditions, measures, is_labelled, self.history_us

    @property
    def _is_of_one_mind(self) -> bool:
        """Whether all windows want the same kinds: then what is kept is what they want."""
        return len({frozenset(window.kinds) for window in self.windows}) == 1

    @cached_property
    def _conditions(self) -> tuple[_Condition, ...]:
        return tuple(dict.fromkeys(_condition(window) for window in self.windows))

    @cached_property
    def _measures(self) -> tuple[tuple[int, str], ...]:
        asked = [(self.reading(window), number_of(window)) for window in self.windows]
        return tuple(dict.fromkeys((reading, name) for reading, name in asked if name is not None))


@dataclass(frozen=True)
class Layout:
    """What a state keeps.

    Attributes:
        windows: Those that it can answer.
    """

    windows: tuple[Window, ...]

    @classmethod
    def of(cls, feature_sets: Iterable[FeatureSet]) -> Layout:
        """Return the layout that serves these feature sets and holds nothing else."""
        return cls.from_json([window.entry() for features in feature_sets for window in features.windows])

    def with_all(self, other: Layout | None) -> Layout:
        """Return the layout that holds what another one holds too."""
        return Layout(tuple(dict.fromkeys((*self.windows, *(other.windows if other else ())))))

    @classmethod
    def from_json(cls, entries: Sequence[Mapping[str, Any]]) -> Layout:
        """Return the layout that ``to_json`` described."""
        return cls(tuple(dict.fromkeys(Window.model_validate(entry) for entry in entries)))

    def to_json(self) -> list[dict[str, Any]]:
        """Return the windows as they are written in a feature set."""
        return [window.entry() for window in self.windows]

    @cached_property
    def keys(self) -> dict[str, KeyLayout]:
        """By the name of the entity, in order of appearance."""
        names = dict.fromkeys(window.key for window in self.windows)
        return {
            name: KeyLayout(number, tuple(window for window in self.windows if window.key == name))
            for number, name in enumerate(names)
        }

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of transactions that any entity keeps."""
        return tuple(dict.fromkeys(kind for key in self.keys.values() for kind in key.kinds))

    @cached_property
    def history_us(self) -> int:
        """How far back any window can look, microseconds."""
        return max((key.history_us for key in self.keys.values()), default=0)

    @cached_property
    def labelled(self) -> tuple[KeyLayout, ...]:
        """The entities that keep labels."""
        return tuple(key for key in self.keys.values() if key.labels is not None)

    def covers(self, feature_set: FeatureSet) -> bool:
        """Tell whether a state of this layout answers every window of a feature set."""
        both = self.with_all(Layout.of([feature_set]))
        return {name: key.needs() for name, key in both.keys.items()} == {
            name: key.needs() for name, key in self.keys.items()
        }


def _condition(window: Window) -> _Condition:
    return tuple(sorted(window.conditions.items()))
