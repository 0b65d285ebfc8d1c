"""Counts of slices add up to those of the whole."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from fraud import schema
from fraud.mapping.census import Census, take_census


def test_census_of_parts_is_that_of_the_whole():
    times = [datetime(2025, 1, day, tzinfo=UTC) for day in (2, 4, 3, 1)]
    table = pa.table({"event_time": pa.array(times, schema.TIME), "age": [None, 1.0, None, None]})
    whole = take_census(table, ["age"])
    assert (whole.rows, whole.nulls["age"]) == (4, 3)
    assert whole.newest_us == int(times[1].timestamp()) * 1_000_000
    assert take_census(table.slice(0, 2), ["age"]) + take_census(table.slice(2), ["age"]) == whole


def test_census_of_nothing_adds_nothing():
    some = Census(2, newest_us=-5)
    assert Census() + some == some + Census() == some
