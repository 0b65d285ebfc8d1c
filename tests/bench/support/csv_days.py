"""The days of a benchmark's lake as gzipped CSV files, in the columns of the Handbook."""

from __future__ import annotations

import gzip
import shutil
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from fraud import schema
from fraud.storage.lake import Lake

_COLUMNS = {
    "transaction_id": "TRANSACTION_ID",
    "event_time": "TX_DATETIME",
    "card_id": "CUSTOMER_ID",
    "terminal_id": "TERMINAL_ID",
    "amount_minor": "TX_AMOUNT",
}


def write(lake: Lake, folder: Path, processes: int, *, files_a_day: int = 1) -> Path:
    """Return the folder of the lake's days, made where it does not stand yet."""
    if folder.exists():
        return folder
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    days = sorted({part.day for part in lake.parts(schema.TRANSACTIONS)})
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        list(pool.map(partial(_write_day, lake, unfinished, files_a_day), days))
    unfinished.rename(folder)
    return folder


def _write_day(lake: Lake, folder: Path, files: int, day: date) -> None:
    rows = lake.read(schema.TRANSACTIONS, columns=list(_COLUMNS), days=(day, day + timedelta(days=1)))
    frauds = lake.read(schema.LABELS, columns=["transaction_id"]).column(0)
    fraud = pc.is_in(rows.column("transaction_id"), value_set=frauds).cast(pa.int8())
    major = pc.divide(rows.column("amount_minor").cast(pa.float64()), 100.0)
    times = pc.strftime(rows.column("event_time").cast(pa.timestamp("s", tz="UTC")), "%Y-%m-%d %H:%M:%S")
    table = rows.set_column(1, "event_time", times).set_column(4, "amount_minor", major)
    table = table.rename_columns(list(_COLUMNS.values()))
    table = table.append_column("TX_FRAUD", fraud).append_column("TX_FRAUD_SCENARIO", fraud)
    rows_a_file = -(-table.num_rows // files)
    for number in range(files):
        with gzip.open(folder / f"{day}-{number:02d}.csv.gz", "wb", compresslevel=6) as file:
            pacsv.write_csv(table.slice(number * rows_a_file, rows_a_file), file)
