"""A number read off the clock."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fraud.features.facts import Floats, Ints
from fraud.features.kind import Kind, Rows

_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday."""

Hour = Annotated[int, Field(ge=0, le=23)]


class Calendar(Kind):
    """A number read off the clock in the set's time zone.

    ``weekend`` is Saturday and Sunday; ``night`` is the local hours from the first to the last of ``hours``,
    both included; ``hour`` is 0 to 23; ``day_of_week`` is 0 (Monday) to 6.
    """

    keyword: ClassVar[str] = "calendar"
    example: ClassVar[str] = "calendar: night\nhours: [0, 6]"

    calendar: Literal["weekend", "night", "hour", "day_of_week"] = Field(
        description="`weekend`, `night`, `hour` or `day_of_week`."
    )
    hours: tuple[Hour, Hour] | None = Field(
        default=None, description="First and last hour of a night, both included."
    )

    @model_validator(mode="after")
    def _only_night_has_hours(self) -> Calendar:
        if (self.calendar == "night") != (self.hours is not None):
            raise ValueError("write hours: [first, last] with night, and only there")
        if self.hours is not None and self.hours[0] > self.hours[1]:
            raise ValueError("the first hour of a night comes before its last: a night begins at midnight")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """``is_weekend``, ``is_night``, ``hour`` or ``day_of_week``."""
        return (f"is_{self.calendar}" if self.calendar in {"weekend", "night"} else self.calendar,)

    def values(self, rows: Rows) -> dict[str, Floats]:
        """The clock's number."""
        return {self.names[0]: self._read(rows.event_time, rows.time_zone).astype(np.float64)}

    def _read(self, event_time: Ints, zone: str) -> NDArray[Any]:
        if self.calendar == "hour":
            return _hour(event_time, zone)
        if self.calendar == "day_of_week":
            return _weekday(event_time, zone)
        if self.calendar == "weekend":
            return _weekday(event_time, zone) >= 5
        hour, (first, last) = _hour(event_time, zone), self.hours or (0, 0)
        return (hour >= first) & (hour <= last)

    def explain(self) -> dict[str, tuple[str, str]]:
        """What of the clock it is."""
        night = f"{self.hours[0]:02}:00 to {self.hours[1]:02}:59" if self.hours else ""
        said = {
            "weekend": "1 on a Saturday or Sunday, else 0",
            "night": f"1 from {night}, else 0",
            "hour": "The hour, 0 to 23",
            "day_of_week": "The day of the week, 0 (Monday) to 6 (Sunday)",
        }[self.calendar]
        return {self.names[0]: (f"{said}, in the set's time zone.", "the same")}


def _hour(event_time: Ints, zone: str) -> Ints:
    """The local hour."""
    if zone == "UTC":
        return event_time % _DAY_US // _HOUR_US
    hour: Ints = pc.hour(_local(event_time, zone)).to_numpy()
    return hour


def _weekday(event_time: Ints, zone: str) -> Ints:
    """The local day of the week, Monday is 0."""
    if zone == "UTC":
        return (event_time // _DAY_US + _EPOCH_WEEKDAY) % 7
    weekday: Ints = pc.day_of_week(_local(event_time, zone)).to_numpy()
    return weekday


def _local(event_time: Ints, zone: str) -> pa.Array:
    return pa.array(event_time).cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us", tz=zone))
