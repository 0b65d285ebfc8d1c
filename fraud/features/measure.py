"""What a feature measures: a code that outlives its name and its span, a phrase, a unit.

A code says whose (``CARD``), under which condition (``DECLINED``) and what (``VELOCITY``). Features that
differ in their spans, or in how they sum up the same values, measure the same and share a code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from fraud.features.statistics import Stat
from fraud.features.window import duration_text

NO_YES: Final = ("no", "yes")
_UNITS: Final = {"s": "s", "m": "min", "h": "h", "d": "days"}


class Unit(Enum):
    """How a value is to be written."""

    COUNT = auto()
    NUMBER = auto()
    RATIO = auto()
    SHARE = auto()
    MONEY = auto()
    """Minor units of the base currency."""
    SECONDS = auto()
    CHOICE = auto()
    """A position in the measure's choices."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What one feature measures.

    Attributes:
        code: Stable; the same for the same measure over other spans.
        subject: What the value is of, for an analyst: ``transactions of this card in 7 days``.
        unit: How the value is written.
        entity: The part of the code that says whose past it is, empty for the transaction's own values.
        choices: What values 0, 1, 2 ... of a choice stand for.
    """

    code: str
    subject: str
    unit: Unit
    entity: str = ""
    choices: tuple[str, ...] = ()

    def against(self, other: Measure, subject: str, unit: Unit) -> Measure:
        """Return the measure of a comparison with another, which says what is usual.

        Compared with the same entity's past it is still this measure.
        """
        if self.entity and self.entity == other.entity:
            return replace(self, subject=subject, unit=unit, choices=())
        return Measure(unusual(self.code, other.entity), subject, unit, self.entity)


_OF_VALUES: Final[Mapping[Stat, tuple[str, str, Unit | None]]] = {
    "count": ("velocity", "{those}", Unit.COUNT),
    "sum": ("{of} total", "total {of} over {those}", None),
    "mean": ("{of} level", "mean {of} over {those}", None),
    "std": ("{of} level", "spread of {of} over {those}", None),
    "min": ("{of} level", "smallest {of} over {those}", None),
    "max": ("{of} level", "largest {of} over {those}", None),
    "distinct": ("{of} variety", "different values of {of} among {those}", Unit.COUNT),
    "seconds_since_last": ("recency", "time since the last of {those}", Unit.SECONDS),
    "first_time": ("{of} new", "first {with_this}among {those}", Unit.CHOICE),
}
"""What is measured, of what the value is, and its unit; None: that of the values."""

_OF_FRAUD: Final[Mapping[Stat, tuple[str, str, Unit | None]]] = {
    "sum": ("known frauds", "known frauds among {those}", Unit.COUNT),
    "mean": ("known frauds", "share of known frauds among {those}", Unit.SHARE),
    "seconds_since_last": ("known frauds", "time since the last known fraud among {those}", Unit.SECONDS),
}


def of_statistic(
    stat: Stat, *, entity: Sequence[str], of: str | None, conditions: Sequence[str], when: str
) -> Measure:
    """Return the measure of a window's statistic.

    Args:
        stat: The statistic.
        entity: The window's id columns.
        of: What the statistic is of: ``amount``, ``fraud``, another column, or nothing.
        conditions: The values by which transactions are chosen.
        when: The window's span in words.
    """
    column = words(of or "")
    those = " ".join([*map(words, conditions), f"transactions of {this(entity)} {when}"])
    table = _OF_FRAUD if of == "fraud" and stat in _OF_FRAUD else _OF_VALUES
    what, said, unit = table[stat]
    subject = said.format(of=column, those=those, with_this=f"with this {column} " if column else "")
    return Measure(
        code(*entity, *conditions, what.format(of=column)),
        subject,
        unit or unit_of(of or ""),
        code(*entity),
        NO_YES if unit is Unit.CHOICE else (),
    )


def code(*parts: str) -> str:
    """Return the code of these columns and words: ``("card_id", "velocity")`` gives ``CARD_VELOCITY``."""
    return "_".join(words(part).replace(" ", "_") for part in parts if part).upper()


def unusual(measured: str, entity: str) -> str:
    """Return the code of a value that is compared with an entity's usual, or with another value for ""."""
    return code(measured, "unusual for" if entity else "unusual", entity)


def words(column: str) -> str:
    """Return a column's name as words: ``card`` for ``card_id``."""
    return re.sub(r"\W+|_+", " ", re.sub(r"_(id|hash)$", "", column)).strip()


def unit_of(column: str) -> Unit:
    """Return the unit of ``amount`` or of a numeric attribute."""
    return Unit.MONEY if column == "amount" else Unit.NUMBER


def this(entity: Iterable[str]) -> str:
    """Return the entity of id columns in words: ``this card and terminal``."""
    return f"this {' and '.join(words(column) for column in entity)}"


def period(span: int, delay: int = 0) -> str:
    """Return a window in words: ``in 24 h``, or ``in the 7 days that ended 7 days before``."""
    if not delay:
        return f"in {_duration(span)}"
    return f"in the {_duration(span)} that ended {_duration(delay)} before"


def _duration(microseconds: int) -> str:
    short = duration_text(microseconds)
    return "24 h" if short == "1d" else f"{short[:-1]} {_UNITS[short[-1]]}"
