"""The rows that a simulation wrote, as a table and as integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def read(out: Path, report: dict[str, Any]) -> pa.Table:
    return pa.concat_tables([pq.read_table(out / name) for name in report["files"]])


def columns(table: pa.Table) -> list[np.ndarray]:
    """Second, customer, terminal, cents, label, scenario: what identifies a row, as integers."""
    names = ("TX_TIME_SECONDS", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD", "TX_FRAUD_SCENARIO")
    second, customer, terminal, amount, label, scenario = (table.column(name) for name in names)
    cents = np.rint(amount.to_numpy() * 100).astype(np.int64)
    ids = [column.cast(pa.int64()).to_numpy() for column in (customer, terminal)]
    return [second.to_numpy(), *ids, cents, label.to_numpy(), scenario.to_numpy()]
