"""Features of the transaction itself, and the matrix a booster reads."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from factories import micros

from fraud.features.encode import matrix
from fraud.features.facts import text_number
from fraud.features.kind import Rows
from fraud.features.row import row_features
from fraud.features.spec import FeatureSet, load_text


def declare(*entries: str, zone: str = "UTC") -> FeatureSet:
    listed = ", ".join(f"{{{entry}}}" for entry in entries)
    return load_text(f"{{format_version: 1, name: t, time_zone: {zone}, features: [{listed}]}}", "t")


def rows(*times: datetime, zone: str = "UTC", amount=(), numbers=None, texts=None, windows=None) -> Rows:
    """Rows with only what a test is about."""
    n = max([len(times), len(amount), *(len(column) for column in (numbers or windows or {}).values())])
    return Rows(
        zone,
        np.array([micros(at) for at in times] or [0] * n, np.int64),
        np.array(amount or [0] * n, np.int64),
        {name: np.array(column, float) for name, column in (numbers or {}).items()},
        {name: np.array([text_number(text) for text in column]) for name, column in (texts or {}).items()},
        {name: np.array(column, float) for name, column in (windows or {}).items()},
    )


def calendar(zone: str, *at: datetime) -> dict[str, list[float]]:
    features = declare(
        "calendar: weekend",
        "calendar: hour",
        "calendar: night, hours: [0, 6]",
        "calendar: day_of_week",
        zone=zone,
    )
    return {name: column.tolist() for name, column in row_features(features, rows(*at, zone=zone)).items()}


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


def test_night_includes_its_first_and_its_last_hour():
    features = declare("calendar: night, hours: [22, 23]")
    at = [datetime(2020, 1, 1, hour, 59, tzinfo=UTC) for hour in (21, 22, 23)]
    assert row_features(features, rows(*at))["is_night"].tolist() == [0, 1, 1]


def test_unlisted_category_has_its_own_code_and_a_missing_one_none():
    features = declare("categorical: shop, values: [b, a]")
    shops = rows(amount=[1, 1, 1, 1], texts={"shop": ["a", "b", "z", None]})
    np.testing.assert_equal(row_features(features, shops)["shop"], [1, 0, 2, np.nan])


def test_columns_are_the_amount_and_attributes_as_they_are():
    features = declare("column: risk", "column: amount")
    found = row_features(features, rows(amount=[5, 7], numbers={"risk": [0.5, np.nan]}))
    assert (*found,) == ("risk", "amount")
    np.testing.assert_equal(found, {"risk": [0.5, np.nan], "amount": [5.0, 7.0]})


def test_zscore_is_missing_without_deviation_unless_a_floor_says_otherwise():
    past = {
        "~card_id_amount_mean_7d_before": [10, 10, 10, np.nan],
        "~card_id_amount_std_7d_before": [5, 1, 0, np.nan],
    }
    plain = declare("zscore: amount, window: card_id, spans: [7d]")
    given = rows(amount=[20, 20, 20, 20], windows=past)
    np.testing.assert_equal(row_features(plain, given)["card_id_amount_zscore_7d"], [2, 10, np.nan, np.nan])
    floored = declare("zscore: amount, window: card_id, spans: [7d], floor: 2")
    np.testing.assert_equal(row_features(floored, given)["card_id_amount_zscore_7d"], [2, 5, 5, np.nan])


def test_ratio_is_missing_where_either_is_or_the_baseline_is_nothing():
    mean = "card_id_amount_mean_7d_before"
    features = declare(
        "column: amount",
        "window: card_id, of: amount, stats: [mean], spans: [7d], include_self: false",
        f"ratio: amount, to: {mean}",
        f"difference: amount, minus: {mean}",
    )
    found = row_features(features, rows(amount=[9, 9, 9, -9], windows={mean: [3, 0, np.nan, 3]}))
    np.testing.assert_equal(found[f"amount_to_{mean}"], [3, np.nan, np.nan, -3])
    np.testing.assert_equal(found[f"amount_minus_{mean}"], [6, 9, np.nan, -12])


def test_matrix_keeps_the_order_of_names_and_missing_values():
    table = pa.table({"b": [1.0, None], "a": [2.0, 3.0]})
    found = matrix(table, ("a", "b"))
    assert found.dtype == np.float32
    assert found.flags["C_CONTIGUOUS"]
    np.testing.assert_equal(found, np.array([[2, 1], [3, np.nan]], np.float32))
