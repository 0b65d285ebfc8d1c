"""The monitor's unit of time: the ISO week of the event in UTC, named by its Monday."""

from __future__ import annotations

from datetime import date, datetime, timedelta


def monday(day: date) -> date:
    """Return the Monday of a day's week."""
    return day - timedelta(days=day.weekday())


def is_complete(week: date, as_of: datetime) -> bool:
    """Whether all seven days of a week (its Monday) had begun at ``as_of`` (UTC).

    A week of weekdays only is unlike any whole week, so an incomplete one is not judged.
    """
    return as_of.date() >= week + timedelta(days=6)
