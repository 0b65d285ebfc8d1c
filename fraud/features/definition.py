"""The definition of every feature, written as plainly as it is stated, to hold the executors to.

Whole numbers are Python's own. Of the product it uses the declarations' fields and names, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from zoneinfo import ZoneInfo

from fraud.features.kinds.calendar import Calendar
from fraud.features.kinds.categorical import Categorical
from fraud.features.kinds.column import Column
from fraud.features.kinds.difference import Difference
from fraud.features.kinds.ratio import Ratio
from fraud.features.kinds.window import Window
from fraud.features.kinds.zscore import ZScore
from fraud.features.spec import FeatureSet
from fraud.features.window import duration_text


@dataclass(frozen=True, eq=False)
class Event:
    """A transaction, with everything that was ever said about it.

    ``entity`` is its id in every entity column, unless ``entities`` says the id of each.
    """

    id: str
    entity: str | None
    time: int
    tie: int
    known_at: int
    amount: int
    labels: tuple[tuple[int, str, bool], ...] = ()
    kind: str = "purchase"
    status: str | None = None
    status_time: int = 0
    entities: Mapping[str, str | None] = field(default_factory=dict)
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    texts: Mapping[str, str | None] = field(default_factory=dict)

    def text(self, column: str | None) -> str | None:
        """The text of a column, None where it is missing."""
        own = {"kind": self.kind, "status": self.status, **self.entities, **self.texts}
        return own.get(column or "", None if self.entities else self.entity)

    def number(self, column: str | None) -> float | None:
        """The amount or a numeric attribute, None where it is missing."""
        value = self.amount if column == "amount" else self.numbers[column or ""]
        return None if value is None or math.isnan(value) else value


def is_fraud_as_of(event: Event, t: int) -> bool:
    """The newest label known by t, or not a fraud."""
    known = [label for label in event.labels if label[0] <= t]
    return bool(known) and max(known)[2]


@dataclass(frozen=True)
class _Past:
    """What a window over one span holds at x."""

    window: Window
    span: int
    events: Sequence[Event]
    x: Event

    def is_inside(self, fact: Event) -> bool:
        """Of the same entity, at a time inside."""
        same = all(fact.text(column) == self.x.text(column) for column in self.window.window)
        end = self.x.time - self.window.delay
        return same and end - self.span < fact.time <= end

    def is_known(self, fact: Event) -> bool:
        on_status = "status" in dict(self.window.where)
        return fact.known_at <= self.x.time and (fact.status_time <= self.x.time or not on_status)

    def may_count(self, fact: Event) -> bool:
        wanted = {"kind": ("purchase", "verification"), **dict(self.window.where)}
        return all(fact.text(column) in values for column, values in wanted.items())

    def is_before(self, fact: Event) -> bool:
        """A delay keeps x and what comes after it out by itself."""
        return self.window.delay > 0 or (fact.time, fact.tie) < (self.x.time, self.x.tie)

    @cached_property
    def before(self) -> list[Event]:
        """Strictly earlier transactions."""
        others = [fact for fact in self.events if fact is not self.x and self.is_inside(fact)]
        return [
            fact for fact in others if self.is_before(fact) and self.is_known(fact) and self.may_count(fact)
        ]

    @cached_property
    def facts(self) -> list[Event]:
        """With itself, where the window asks for it."""
        holds = (
            self.window.include_self and self.window.delay == 0 and "status" not in dict(self.window.where)
        )
        return [*self.before, self.x] if holds and self.may_count(self.x) else self.before

    @cached_property
    def frauds(self) -> list[Event]:
        """A fraud counts from its label on, even where the transaction itself arrived later still."""
        return [fact for fact in self.events if self.is_inside(fact) and is_fraud_as_of(fact, self.x.time)]

    @cached_property
    def values(self) -> list[float]:
        found = [fact.number(self.window.of) for fact in self.facts]
        return [value for value in found if value is not None]

    def seconds_since(self, facts: list[Event]) -> float | None:
        return (self.x.time - max(fact.time for fact in facts)) / 1e6 if facts else None


def _units(value: float, of: str | None) -> int:
    """An amount is whole; an attribute is added up in units of 2**-20, within +-2**22."""
    if of == "amount":
        return int(value)
    bounded = min(max(value, -(2.0**22)), 2.0**22)
    return round(Fraction(bounded) * 2**20)


def _of_values(stat: str, past: _Past) -> float | None:
    values = past.values
    if not values:
        return None
    if stat in ("min", "max"):
        return float(min(values) if stat == "min" else max(values))
    scale = 1.0 if past.window.of == "amount" else 2.0**-20
    n, whole = len(values), [_units(value, past.window.of) for value in values]
    if stat == "sum":
        return float(sum(whole)) * scale
    if stat == "mean":
        return float(sum(whole)) * scale / n
    return math.sqrt(n * sum(v * v for v in whole) - sum(whole) ** 2) / n * scale


def _of_fraud(stat: str, past: _Past) -> float | None:
    if stat == "seconds_since_last":
        return past.seconds_since(past.frauds)
    count, frauds = len(past.facts), len(past.frauds)
    if count == 0:
        return None
    return float(frauds) if stat == "sum" else frauds / count


def _first_time(past: _Past) -> float:
    if past.window.of is None:
        return float(not past.before)
    own = past.x.text(past.window.of)
    return math.nan if own is None else float(own not in [fact.text(past.window.of) for fact in past.before])


def _statistic(stat: str, past: _Past) -> float | None:
    """None where there is nothing to say."""
    if any(past.x.text(column) is None for column in past.window.window):
        return math.nan
    if stat == "count":
        return float(len(past.facts))
    if stat == "first_time":
        return _first_time(past)
    if stat == "distinct":
        return float(len({fact.text(past.window.of) for fact in past.facts} - {None}))
    if past.window.of == "fraud":
        return _of_fraud(stat, past)
    return past.seconds_since(past.before) if stat == "seconds_since_last" else _of_values(stat, past)


def naive_window(window: Window, events: Sequence[Event], x: Event) -> dict[str, float]:
    """Every statistic of a window over every span, for one of the events."""
    empty = math.nan if window.empty is None else window.empty
    pasts = {span: _Past(window, span, events, x) for span in window.spans}
    values = {}
    for stat in window.stats:
        for span, past in pasts.items():
            found = _statistic(stat, past)
            values[window.name(stat, span)] = empty if found is None else found
    return values


def _z_score(kind: ZScore, span: int, events: Sequence[Event], x: Event) -> float:
    baseline = Window(
        window=kind.window,
        of=kind.zscore,
        stats=("mean", "std"),
        spans=(duration_text(span),),
        delay=duration_text(kind.delay),
        include_self=False,
    )
    past, value = _Past(baseline, span, events, x), x.number(kind.zscore)
    mean, std = _statistic("mean", past), _statistic("std", past)
    if value is None or mean is None or std is None or not max(std, kind.floor) > 0:
        return math.nan
    return (value - mean) / max(std, kind.floor)


def _clock(kind: Calendar, zone: str, x: Event) -> float:
    at = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=x.time)).astimezone(ZoneInfo(zone))
    if kind.calendar == "night":
        first, last = kind.hours or (0, 0)
        return float(first <= at.hour <= last)
    return float({"hour": at.hour, "day_of_week": at.weekday(), "weekend": at.weekday() >= 5}[kind.calendar])


def _category(kind: Categorical, x: Event) -> float:
    text = x.text(kind.categorical)
    codes = {value: code for code, value in enumerate(kind.values_)}
    return math.nan if text is None else float(codes.get(text, len(codes)))


def _column(kind: Column, x: Event) -> float:
    value = x.number(kind.column)
    return math.nan if value is None else float(value)


def _of_two(kind: Ratio | Difference, above: Mapping[str, float]) -> float:
    if isinstance(kind, Difference):
        return above[kind.difference] - above[kind.minus]
    return math.nan if above[kind.to] == 0 else above[kind.ratio] / above[kind.to]


def naive_features(feature_set: FeatureSet, events: Sequence[Event], x: Event) -> dict[str, float]:
    """All features of one of the events, in the model's order."""
    values: dict[str, float] = {}
    for kind in feature_set.declarations:
        match kind:
            case Window():
                values |= naive_window(kind, events, x)
            case ZScore():
                found = [_z_score(kind, span, events, x) for span in kind.spans]
                values |= dict(zip(kind.names, found, strict=True))
            case Ratio() | Difference():
                values[kind.names[0]] = _of_two(kind, values)
            case Calendar():
                values[kind.names[0]] = _clock(kind, feature_set.time_zone, x)
            case Categorical():
                values[kind.names[0]] = _category(kind, x)
            case Column():
                values[kind.names[0]] = _column(kind, x)
            case _:
                raise NotImplementedError(f"define {kind.keyword} here, as plainly as it is stated")
    return values
