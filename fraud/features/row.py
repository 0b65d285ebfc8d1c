"""Features that need nothing but the transaction itself; the same code in every executor.

The online executor calls it with arrays of length one, so there is nothing to keep in step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud.features.spec import Calendar, Categorical, Column, FeatureSet

_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday."""


def row_features(
    feature_set: FeatureSet,
    event_time: NDArray[np.int64],
    amount: NDArray[np.int64],
    numbers: Mapping[str, NDArray[np.float64]],
    categories: Mapping[str, Sequence[str | None]],
) -> dict[str, NDArray[np.float64]]:
    """Compute the columns, categoricals and calendar features of n transactions.

    Args:
        feature_set: What to compute; its windows are left out.
        event_time: Microseconds since 1970 in UTC, shape ``(n,)``.
        amount: Minor units of the base currency, shape ``(n,)``.
        numbers: The numeric attributes, NaN where missing, each of shape ``(n,)``.
        categories: The text attributes, None where missing, each of length n.
    """
    columns: dict[str, NDArray[np.float64]] = {}
    for declaration in feature_set.declarations:
        if isinstance(declaration, Column):
            name = declaration.column
            columns[name] = amount.astype(np.float64) if name == "amount" else numbers[name]
        elif isinstance(declaration, Categorical):
            columns[declaration.categorical] = _codes(declaration, categories[declaration.categorical])
        elif isinstance(declaration, Calendar):
            columns[declaration.names[0]] = _calendar(declaration, event_time, feature_set.time_zone)
    return columns


def _codes(declaration: Categorical, values: Sequence[str | None]) -> NDArray[np.float64]:
    codes: dict[str | None, float] = {value: float(code) for code, value in enumerate(declaration.values)}
    codes[None] = np.nan
    other = float(len(declaration.values))
    return np.array([codes.get(value, other) for value in values], np.float64)


def _calendar(declaration: Calendar, event_time: NDArray[np.int64], zone: str) -> NDArray[np.float64]:
    hour, weekday = _clock(event_time, zone)
    if declaration.calendar == "hour":
        return hour.astype(np.float64)
    if declaration.calendar == "day_of_week":
        return weekday.astype(np.float64)
    if declaration.calendar == "weekend":
        return (weekday >= 5).astype(np.float64)
    first, last = declaration.hours or (0, 0)
    return ((hour >= first) & (hour <= last)).astype(np.float64)


def _clock(event_time: NDArray[np.int64], zone: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The local hour and weekday (Monday is 0)."""
    if zone == "UTC":
        return event_time % _DAY_US // _HOUR_US, (event_time // _DAY_US + _EPOCH_WEEKDAY) % 7
    local = pa.array(event_time).cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us", tz=zone))
    return pc.hour(local).to_numpy(), pc.day_of_week(local).to_numpy()
