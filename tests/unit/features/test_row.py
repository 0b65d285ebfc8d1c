"""Features of the transaction itself, and the matrix a booster reads."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from factories import micros

from fraud.features.encode import matrix
from fraud.features.row import row_features
from fraud.features.spec import load_text


def calendar(zone: str, *at: datetime) -> dict[str, list[float]]:
    features = load_text(
        f"{{format_version: 1, name: t, time_zone: {zone}, features: [{{calendar: weekend}},"
        " {calendar: hour}, {calendar: night, hours: [0, 6]}, {calendar: day_of_week}]}",
        "t",
    )
    times = np.array([micros(one) for one in at], np.int64)
    return {name: column.tolist() for name, column in row_features(features, times, times, {}, {}).items()}


def test_calendar_reads_utc():
    # 2018-04-01 was a Sunday.
    columns = calendar(
        "UTC", datetime(2018, 4, 1, 6, 59, 59, tzinfo=UTC), datetime(2018, 4, 2, 7, tzinfo=UTC)
    )
    assert columns == {"is_weekend": [1, 0], "hour": [6, 7], "is_night": [1, 0], "day_of_week": [6, 0]}


def test_calendar_follows_a_clock_change():
    # Berlin went from 02:00 to 03:00 at 01:00 UTC on 2018-03-25.
    columns = calendar(
        "Europe/Berlin", datetime(2018, 3, 25, 0, 59, tzinfo=UTC), datetime(2018, 3, 25, 1, tzinfo=UTC)
    )
    assert columns["hour"] == [1, 3]


def test_utc_by_arithmetic_equals_utc_by_time_zone_rules():
    times = [datetime(1969, 12, 31, 23, 30, tzinfo=UTC), datetime(2024, 2, 29, 12, tzinfo=UTC)]
    assert calendar("UTC", *times) == calendar("Etc/UTC", *times)


def test_unlisted_category_has_its_own_code_and_a_missing_one_none():
    features = load_text(
        "{format_version: 1, name: t, time_zone: UTC, features: [{categorical: shop, values: [a, b]}]}", "t"
    )
    none = np.zeros(3, np.int64)
    columns = row_features(features, none, none, {}, {"shop": ["b", "z", None]})
    np.testing.assert_equal(columns["shop"], np.array([1.0, 2.0, np.nan]))


def test_matrix_keeps_the_order_of_names_and_missing_values():
    table = pa.table({"b": [1.0, None], "a": [2.0, 3.0]})
    found = matrix(table, ("a", "b"))
    assert found.dtype == np.float32
    assert found.flags["C_CONTIGUOUS"]
    np.testing.assert_equal(found, np.array([[2, 1], [3, np.nan]], np.float32))
