"""Ingest a folder as plain processes would: pyarrow parses, NumPy checks, Parquet is written.

It does what the rows of this source need and no more: it knows these columns and their types, one zone and
one currency. What an ingest is for is the same: no row without its id, time or amount, no negative amount, no
id twice, exact minor units, the tie of every row, rows in the order of time within their day, labels apart.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from fraud import schema
from fraud.mapping.ids import tie

_TYPES = {
    "TRANSACTION_ID": pa.string(),
    "TX_DATETIME": pa.timestamp("us"),
    "CUSTOMER_ID": pa.string(),
    "TERMINAL_ID": pa.string(),
    "TX_AMOUNT": pa.float64(),
    "TX_FRAUD": pa.int8(),
    "TX_FRAUD_SCENARIO": pa.string(),
}
_DELAY_US = int(timedelta(days=7) / timedelta(microseconds=1))
_DAY_US = int(timedelta(days=1) / timedelta(microseconds=1))
_LARGEST = 10**9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--processes", type=int, required=True)
    options = parser.parse_args()
    started = time.perf_counter()
    (options.out / "labels").mkdir(parents=True)
    files = sorted(options.source.glob("*.csv.gz"))
    with ProcessPoolExecutor(options.processes, mp_context=get_context("forkserver")) as pool:
        found = list(pool.map(partial(_ingest, out=options.out), files))
    ties = np.sort(np.concatenate([each for each, _ in found]))
    if (ties[1:] == ties[:-1]).any():
        raise SystemExit("an id came twice")
    labels = sum(count for _, count in found)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - started,
                "transactions": len(ties),
                "labels": labels,
                "rejected": 0,
            }
        )
    )


def _ingest(file: Path, out: Path) -> tuple[np.ndarray, int]:
    table = pacsv.read_csv(
        file,
        read_options=pacsv.ReadOptions(use_threads=False),
        convert_options=pacsv.ConvertOptions(column_types=_TYPES),
    )
    times = table.column("TX_DATETIME").cast(pa.int64()).to_numpy()
    minor = np.rint(table.column("TX_AMOUNT").to_numpy() * 100)
    empty = pc.any(pc.equal(pc.binary_length(table.column("TRANSACTION_ID")), 0)).as_py()
    if table.column("TX_AMOUNT").null_count or empty or not ((minor >= 0) & (minor <= _LARGEST)).all():
        raise SystemExit(f"{file} holds rows that are no transactions")
    ties = tie(table.column("TRANSACTION_ID").combine_chunks())
    rows = _transactions(table, times, minor.astype(np.int64), ties)
    days = times // _DAY_US
    order = np.lexsort((ties, times))
    for day in np.unique(days):
        folder = out / f"event_date={np.datetime64(int(day), 'D')}"
        folder.mkdir(exist_ok=True)
        own = rows.take(pa.array(order[days[order] == day]))
        _write(own, folder / f"{file.name}.parquet")
    frauds = rows.filter(pc.equal(table.column("TX_FRAUD"), 1))
    _write(_labels(frauds), out / "labels" / f"{file.name}.parquet")
    return ties, frauds.num_rows


def _transactions(table: pa.Table, times: np.ndarray, minor: np.ndarray, ties: np.ndarray) -> pa.Table:
    n = table.num_rows
    stamps = pa.array(times).cast(schema.TIME)
    columns = {
        "transaction_id": table.column("TRANSACTION_ID"),
        "event_time": stamps,
        "known_at": stamps,
        "kind": pa.array(["purchase"] * n),
        "status": pa.nulls(n, pa.string()),
        "status_time": pa.nulls(n, schema.TIME),
        "amount_minor": pa.array(minor),
        "currency": pa.array(["EUR"] * n),
        "amount_base_minor": pa.array(minor),
        "tie": pa.array(ties),
        "card_id": table.column("CUSTOMER_ID"),
        "terminal_id": table.column("TERMINAL_ID"),
        "ingest_id": pa.array(["plain"] * n),
    }
    return pa.table(columns)


def _labels(frauds: pa.Table) -> pa.Table:
    known = pa.array(frauds.column("event_time").cast(pa.int64()).to_numpy() + _DELAY_US).cast(schema.TIME)
    return frauds.select(["transaction_id", "event_time", "card_id", "terminal_id"]).append_column(
        "label_time", known
    )


def _write(table: pa.Table, path: Path) -> None:
    texts = ["kind", "status", "currency", "ingest_id", "card_id", "terminal_id"]
    named = [name for name in texts if name in table.column_names]
    pq.write_table(table, path, compression="zstd", compression_level=1, use_dictionary=named)


if __name__ == "__main__":
    main()
