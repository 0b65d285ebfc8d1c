"""Times become UTC microseconds, whatever their format, type and zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.errors import SchemaError
from fraud.mapping.times import Reading, read_times


def read(values: list[Any] | pa.Array, **options: Any) -> Reading:
    settings = {"formats": ("iso8601",), "zone": None, "clock_change": "reject", "nulls": ("",)}
    column = values if isinstance(values, pa.Array) else pa.array(values, pa.string())
    return read_times(column, "at", **(settings | options))


def utc(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2024-02-29T23:59:59Z", utc(2024, 2, 29, 23, 59, 59)),
        ("2024-02-29 23:59:59.123456+00:00", utc(2024, 2, 29, 23, 59, 59) + 123456),
        ("2024-02-29T23:59:59.1234567Z", utc(2024, 2, 29, 23, 59, 59) + 123456),  # cut off, not rounded
        ("2024-03-01T01:30+01:00", utc(2024, 3, 1, 0, 30)),
        ("2024-02-29T19:00:00-0530", utc(2024, 3, 1, 0, 30)),
        ("2024-03-01T02:00:00+02", utc(2024, 3, 1)),
        ("  2024-03-01 00:00 UTC ", utc(2024, 3, 1)),
    ],
)
def test_iso_times_with_an_offset_need_no_zone(written: str, expected: int):
    assert read([written]).microseconds.tolist() == [expected]


@pytest.mark.parametrize(
    "written",
    [
        "2023-02-29T00:00:00Z",
        "2024-13-01",
        "2024-04-31",
        "24:00",
        "2024-01-01T24:00Z",
        "2024-01-01T00:60Z",
        "x",
    ],
)
def test_dates_that_do_not_exist_are_unparsable(written: str):
    reading = read([written, None, ""], zone="UTC")
    assert reading.unparsable.tolist() == [True, False, False]
    assert reading.missing.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("pattern", "written", "expected"),
    [
        ("%d.%m.%Y %H:%M:%S", "01.03.2024 04:05:06", utc(2024, 3, 1, 4, 5, 6)),
        ("%d.%m.%Y %H:%M", "1.3.2024 4:05", utc(2024, 3, 1, 4, 5)),
        ("%m/%d/%y %I:%M %p", "03/01/24 12:05 am", utc(2024, 3, 1, 0, 5)),
        ("%m/%d/%y %I:%M %p", "03/01/24 12:05 PM", utc(2024, 3, 1, 12, 5)),
        ("%d-%b-%Y", "01-MAR-2024", utc(2024, 3, 1)),
        ("%Y%m%d%H%M%S", "20240301040506", utc(2024, 3, 1, 4, 5, 6)),
        ("%Y-%m-%d %H:%M:%S.%f %z", "2024-03-01 04:05:06.5 +0100", utc(2024, 3, 1, 3, 5, 6) + 500_000),
        ("epoch_s", "1709265906.25", utc(2024, 3, 1, 4, 5, 6) + 250_000),
        ("epoch_ms", "1709265906250", utc(2024, 3, 1, 4, 5, 6) + 250_000),
    ],
)
def test_declared_formats_are_read(pattern: str, written: str, expected: int):
    assert read([written], formats=(pattern,), zone="UTC").microseconds.tolist() == [expected]


def test_formats_are_tried_in_their_order():
    reading = read(["01/02/2024", "13/02/2024", "x"], formats=("%m/%d/%Y", "%d/%m/%Y"), zone="UTC")
    assert reading.microseconds.tolist() == [utc(2024, 1, 2), utc(2024, 2, 13), 0]
    assert reading.unparsable.tolist() == [False, False, True]


def test_naive_times_without_a_zone_are_a_fault_of_the_run():
    with pytest.raises(SchemaError, match="column at: its times carry no zone: state it in the mapping"):
        read(["2024-01-01T00:00:00"])
    with pytest.raises(SchemaError, match="carry no zone"):
        read(pa.array([1709265906000], pa.timestamp("ms")))


def test_repeated_and_skipped_hours_are_refused_or_read_with_the_offset_before():
    # Berlin leaves summer time on 2024-10-27 at 03:00, and enters it on 2024-03-31 at 02:00.
    local = ["2024-10-27 02:30:00", "2024-03-31 02:30:00", "2024-10-27 03:00:00", "2024-03-31 03:00:00"]
    strict = read(local, zone="Europe/Berlin")
    assert strict.ambiguous.tolist() == [True, False, False, False]
    assert strict.nonexistent.tolist() == [False, True, False, False]
    first = read(local, zone="Europe/Berlin", clock_change="first")
    assert not (first.ambiguous | first.nonexistent).any()
    assert first.microseconds.tolist() == [
        utc(2024, 10, 27, 0, 30),
        utc(2024, 3, 31, 1, 30),
        utc(2024, 10, 27, 2),
        utc(2024, 3, 31, 1),
    ]


@given(
    st.lists(st.datetimes(datetime(1991, 1, 1), datetime(2037, 12, 31)), min_size=1, max_size=20),  # noqa: DTZ001
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_local_times_agree_with_the_standard_library(local: list[datetime], zone: str):
    reading = read(pa.array(local, pa.timestamp("us")), zone=zone, clock_change="first")
    there = [each.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC) for each in local]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert reading.microseconds.tolist() == [
        (each - epoch).days * 86_400_000_000 + (each - epoch).seconds * 1_000_000 + each.microsecond
        for each in there
    ]


@pytest.mark.parametrize(
    ("column", "options"),
    [
        (pa.array([1709265906000], pa.timestamp("ms", tz="America/New_York")), {}),
        (pa.array([1709265906000000999], pa.timestamp("ns")), {"zone": "UTC"}),
        (pa.array([1709265906], pa.int64()), {"formats": ("epoch_s",)}),
        (pa.array([1709265906000.0], pa.float64()), {"formats": ("iso8601", "epoch_ms")}),
    ],
)
def test_typed_columns_are_read(column: pa.Array, options: dict[str, Any]):
    assert read(column, **options).microseconds.tolist() == [utc(2024, 3, 1, 4, 5, 6)]


def test_dates_are_midnight_of_the_zone():
    assert read(pa.array([date(2024, 3, 1)]), zone="Europe/Berlin").microseconds.tolist() == [
        utc(2024, 2, 29, 23)
    ]


def test_numbers_need_an_epoch_format():
    with pytest.raises(SchemaError, match="epoch_s"):
        read(pa.array([1709265906]))


def test_defaults_of_a_source_are_out_of_range():
    reading = read(["1970-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "2024-01-01T00:00:00Z"])
    np.testing.assert_array_equal(reading.out_of_range, [True, True, False])


ALIKE = st.sampled_from(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])
SHAPED = st.from_regex(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}[T ]?[0-9:]{0,8}Z?", fullmatch=True)


WRITTEN = ALIKE.flatmap(
    lambda form: st.datetimes(datetime(1990, 1, 1)).map(lambda at: at.strftime(form))  # noqa: DTZ001
)


@given(st.one_of(WRITTEN, SHAPED))
def test_a_time_reads_the_same_alone_as_beside_a_rarer_form(text: str):
    alone = read([text], zone="UTC")
    beside = read([text, "2024-01-01T00:00:00.25+00:00"], zone="UTC")
    for name in ("microseconds", "missing", "unparsable", "out_of_range"):
        assert getattr(alone, name)[0] == getattr(beside, name)[0], name
