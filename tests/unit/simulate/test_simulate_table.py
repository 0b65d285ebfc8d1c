"""The written columns: names, late labels, numbering; and the checksum."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from fraud.simulate.checksum import checksum, combine
from fraud.simulate.scenario import Labels
from fraud.simulate.stream import Rows
from fraud.simulate.table import SCHEMA, table


def _int32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


ROWS = Rows(_int32(31, 86_400 * 2 + 5), _int32(596, 3), _int32(0, 1), _int32(3_156, 4), _int32(5_716, 100))
LABELS = Labels(np.array([5_716, 500]), np.array([0, 3], np.int8), (0, 0, 1))


def test_rows_become_the_published_columns():
    written = table(ROWS, LABELS, 10)
    assert written.schema == SCHEMA
    assert written.to_pylist()[0] == {
        "TRANSACTION_ID": "10",
        "TX_DATETIME": datetime(2018, 4, 1, 0, 0, 31, tzinfo=UTC),
        "CUSTOMER_ID": "596",
        "TERMINAL_ID": "3156",
        "TX_AMOUNT": 57.16,
        "TX_TIME_SECONDS": 31,
        "TX_TIME_DAYS": 0,
        "TX_FRAUD": 0,
        "TX_FRAUD_SCENARIO": 0,
        "LABEL_TIME": datetime(2018, 4, 8, 0, 0, 31, tzinfo=UTC),
    }


def test_second_row_carries_its_day_and_scenario():
    row = table(ROWS, LABELS, 10).to_pylist()[1]
    assert (row["TRANSACTION_ID"], row["TX_TIME_DAYS"], row["TX_FRAUD"], row["TX_FRAUD_SCENARIO"]) == (
        "11",
        2,
        1,
        3,
    )
    assert row["TX_AMOUNT"] == 5.0


def test_labels_are_known_a_week_later_for_every_row():
    written = table(ROWS, LABELS, 0)
    for event, known in zip(
        written["TX_DATETIME"].to_pylist(), written["LABEL_TIME"].to_pylist(), strict=True
    ):
        assert known - event == timedelta(days=7)


def test_times_are_utc_microseconds():
    assert SCHEMA.field("LABEL_TIME").type == pa.timestamp("us", tz="UTC")


def test_checksum_ignores_the_order_and_division_of_rows():
    a, b = np.array([1, 2, 3]), np.array([9, 8, 7], np.int8)
    assert checksum([a, b]) == checksum([a[::-1], b[::-1]])
    assert combine([checksum([a[:1], b[:1]]), checksum([a[1:], b[1:]])]) == combine([checksum([a, b])])


def test_checksum_notices_values_that_change_places():
    a, b = np.array([1, 2]), np.array([8, 9])
    assert len({checksum(columns) for columns in ([a, b], [b, a], [a, b[::-1]], [a, b + 1])}) == 4
