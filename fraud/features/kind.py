"""What every kind of feature is: one entry of a feature set's list, checked, named, explained and computed.

A new kind is one file in ``fraud/features/kinds`` with one subclass of ``Kind``: it is found there, and the
conformance suite of the tests runs over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from fraud.features import loops
from fraud.features.facts import Floats, Ints
from fraud.features.measure import Measure
from fraud.features.window import duration_text, duration_us
from fraud.schema import CORE_COLUMNS

if TYPE_CHECKING:
    from fraud.features.kinds.window import Window


def _parse_duration(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit: write {value}d or {value}h")  # noqa: TRY004
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no duration: write a whole number and s, m, h or d, such as 7d")  # noqa: TRY004
    return duration_us(value)


def _check_spans(spans: tuple[int, ...]) -> tuple[int, ...]:
    if 0 in spans:
        raise ValueError("a span is longer than nothing")
    for place, span in enumerate(spans):
        if span in spans[:place]:
            raise ValueError(f"{duration_text(span)} is there twice")
    return spans


def _check_attribute(name: str) -> str:
    if name in ("amount_minor", "amount_base_minor"):
        raise ValueError("write amount: it is the amount in minor units of the base currency")
    if name in ("status", "status_time"):
        raise ValueError("a status is known later than its transaction: only a window's where asks for it")
    if name in CORE_COLUMNS and name != "kind":
        raise ValueError(f"{name} is no attribute: write amount, or a column that the mapping adds")
    return name


def _check_number(name: str) -> str:
    if name == "fraud":
        raise ValueError("whether it is fraud is known later: write a window with of: fraud and a delay")
    if name == "kind":
        raise ValueError("kind is a text: write categorical: kind")
    return _check_attribute(name)


def check_text(name: str) -> str:
    """Return the name of a column of texts.

    Raises:
        ValueError: It cannot be one.
    """
    if name == "amount":
        raise ValueError("amount is a number, and this takes a column of texts, such as channel")
    return _check_attribute(name)


Duration = Annotated[int, BeforeValidator(_parse_duration)]
"""Microseconds, written as ``7d``."""

Spans = Annotated[tuple[Duration, ...], Field(min_length=1), AfterValidator(_check_spans)]
"""Durations longer than nothing, each once."""

Attribute = Annotated[str, Field(min_length=1), AfterValidator(_check_attribute)]
"""``amount``, ``kind``, or a column of the source's mapping."""

Number = Annotated[str, Field(min_length=1), AfterValidator(_check_number)]
"""``amount`` or a numeric attribute."""

Text = Annotated[str, Field(min_length=1), AfterValidator(check_text)]
"""A column of texts."""


HOURS_OF_WEEK: Final = 168
_HOUR_US: Final = 3_600_000_000
_EPOCH_HOUR: Final = 72
"""Of its week: 1970-01-01 was a Thursday."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of n transactions when their features are put together; arrays of shape ``(n,)``.

    Attributes:
        time_zone: In which the clock is read.
        event_time: Microseconds since 1970 in UTC.
        amount: Minor units of the base currency.
        numbers: The numeric attributes, NaN where missing.
        texts: The text columns as their numbers, ``NO_TEXT`` where missing.
        features: What is computed already: the windows, and the features declared above.
    """

    time_zone: str
    event_time: Ints
    amount: Ints
    numbers: Mapping[str, Floats]
    texts: Mapping[str, Ints]
    features: dict[str, Floats] = field(default_factory=dict)

    @property
    def hour_of_week(self) -> Ints:
        """The hours since the last local Monday began."""
        time = self.event_time
        if self.time_zone != "UTC":
            utc = (
                pa.array(time).cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us", tz=self.time_zone))
            )
            time = pc.local_timestamp(utc).cast(pa.int64()).to_numpy()
        hour: Ints = loops.hours(time, _HOUR_US, _EPOCH_HOUR, HOURS_OF_WEEK)
        return hour

    def number(self, name: str) -> Floats:
        """``amount`` or a numeric attribute as float64."""
        return self.amount.astype(float) if name == "amount" else self.numbers[name]


class Kind(BaseModel):
    """One entry of the list of features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keyword: ClassVar[str]
    """The key that makes an entry one of this kind."""
    example: ClassVar[str]
    """An entry as YAML, for the documentation and for the conformance suite."""

    @property
    def names(self) -> tuple[str, ...]:
        """The features it gives, in order."""
        raise NotImplementedError

    @property
    def numbers(self) -> tuple[str, ...]:
        """The numeric attributes of the transaction that ``values`` reads."""
        return ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The text columns of the transaction that ``values`` reads."""
        return ()

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows that must be computed first."""
        return ()

    def check(self, above: Mapping[str, Kind]) -> None:
        """Check the entry against the features declared above it.

        Raises:
            ValueError: Saying what is wrong and what to write instead.
        """

    def values(self, rows: Rows) -> dict[str, Floats]:
        """Compute its features, each of shape ``(n,)``."""
        raise NotImplementedError

    def measures(self, above: Mapping[str, Measure]) -> dict[str, Measure]:
        """Per feature what it measures, given what those declared above it measure."""
        raise NotImplementedError

    def explain(self) -> dict[str, tuple[str, str]]:
        """Per feature what it says, and what it is for an entity's first transaction."""
        raise NotImplementedError

    def entry(self) -> dict[str, Any]:
        """The canonical YAML entry, without what is left at its default."""
        return {
            self.keyword: getattr(self, self.keyword),
            **self.model_dump(mode="json", exclude_defaults=True),
        }


def check_declared(name: str, above: Mapping[str, Kind]) -> None:
    """Check that a feature is declared above the one that needs it.

    Raises:
        ValueError: It is not.
    """
    if name not in above:
        near = get_close_matches(name, above, n=1)
        meant = f": did you mean {near[0]}?" if near else ", and what is needed comes first"
        raise ValueError(f"{name} is not declared above{meant}")
