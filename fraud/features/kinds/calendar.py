"""A number read off the clock."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from pydantic import Field, model_validator

from fraud.features.facts import Floats
from fraud.features.kind import HOURS_OF_WEEK, Kind, Rows
from fraud.features.measure import NO_YES, Measure, Unit, words

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MEASURED: Final = {
    "weekend": ("WEEKEND", NO_YES),
    "night": ("NIGHT", NO_YES),
    "hour": ("TIME_OF_DAY", tuple(f"{hour:02}:00" for hour in range(24))),
    "day_of_week": ("DAY_OF_WEEK", _DAYS),
}
"""The code, and what the values stand for."""

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
        """The clock's number, which follows from the hour of the local week."""
        return {self.names[0]: self._by_hour[rows.hour_of_week]}

    @cached_property
    def _by_hour(self) -> Floats:
        """The number in each hour of a week from Monday on, shape ``(168,)``."""
        day, hour = np.divmod(np.arange(HOURS_OF_WEEK), 24)
        first, last = self.hours or (0, 0)
        said = {
            "hour": hour,
            "day_of_week": day,
            "weekend": day >= 5,
            "night": (hour >= first) & (hour <= last),
        }
        return said[self.calendar].astype(np.float64)

    def measures(self, above: Mapping[str, Measure]) -> dict[str, Measure]:
        """The clock, of which a night is a part that matters by itself."""
        known, choices = _MEASURED[self.calendar]
        return {self.names[0]: Measure(known, words(self.calendar), Unit.CHOICE, choices=choices)}

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
