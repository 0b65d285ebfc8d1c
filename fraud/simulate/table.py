"""The columns a simulation writes, under the names of the published data, with late labels."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fraud.schema import TIME
from fraud.simulate.parameters import DAY_S, START
from fraud.simulate.scenario import Labels
from fraud.simulate.stream import Rows

LABEL_DELAY: Final = timedelta(days=7)
"""Whether a transaction was fraud is known this long after it, fraud or not."""

MARK: Final = {"ray_fraud.simulation": "handbook"}
"""Stored in every file, so that a file can be told from one somebody else put there."""

SCHEMA: Final = pa.schema(
    [
        pa.field("TRANSACTION_ID", pa.string(), nullable=False),
        pa.field("TX_DATETIME", TIME, nullable=False),
        pa.field("CUSTOMER_ID", pa.string(), nullable=False),
        pa.field("TERMINAL_ID", pa.string(), nullable=False),
        pa.field("TX_AMOUNT", pa.float64(), nullable=False),
        pa.field("TX_TIME_SECONDS", pa.int32(), nullable=False),
        pa.field("TX_TIME_DAYS", pa.int16(), nullable=False),
        pa.field("TX_FRAUD", pa.int8(), nullable=False),
        pa.field("TX_FRAUD_SCENARIO", pa.int8(), nullable=False),
        pa.field("LABEL_TIME", TIME, nullable=False),
    ],
    metadata=MARK,
)


def table(rows: Rows, labels: Labels, first_id: int) -> pa.Table:
    """Return rows in table order as a table of ``SCHEMA``, numbered from ``first_id`` on."""
    return pa.Table.from_arrays(
        [
            _id(np.arange(first_id, first_id + len(rows))),
            _instants(rows.second, timedelta()),
            _id(rows.customer),
            _id(rows.terminal),
            pa.array(labels.cents / 100),
            pa.array(rows.second),
            pa.array((rows.second // DAY_S).astype(np.int16)),
            pa.array(labels.is_fraud()),
            pa.array(labels.scenario),
            _instants(rows.second, LABEL_DELAY),
        ],
        schema=SCHEMA,
    )


def canonical(rows: Rows, labels: Labels) -> tuple[NDArray[np.integer[Any]], ...]:
    """Return what a checksum covers: all columns but the ids, which same-second rows might share out anew."""
    return rows.second, rows.customer, rows.terminal, labels.cents, labels.is_fraud(), labels.scenario


def _id(number: NDArray[np.int32] | NDArray[np.int64]) -> pa.Array:
    return pa.array(number).cast(pa.string())


def _instants(second: NDArray[np.int32], delay: timedelta) -> pa.Array:
    origin = np.datetime64((START + delay).replace(tzinfo=None), "us")
    return pa.array(origin + second.astype("timedelta64[s]")).cast(TIME)
