r"""Ingest of N rows from a table in PostgreSQL: the product against one plain copy of the table into Parquet.

Ours cuts the table into pages along its key, reads them by tasks as of one moment, maps, checks and commits
the rows. The plain process copies the same columns in one stream, and checks nothing. The server is started
here and stopped at the end.

    make bench-database ROWS=5000000
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import pyarrow as pa
from adbc_driver_postgresql import dbapi
from support import measured
from support.handbook_lake import Shape, make
from support.measured import Result, compared, in_turn, run, run_ours, times

from fraud import schema
from fraud.storage.lake import Lake

sys.path.append(str(Path(__file__).parents[1]))

from postgres_server import PASSWORD, PostgresServer, programs, running

SUPPORT = Path(__file__).parent / "support"
BYTES_A_ROW = 400
"""Disk for the lakes, and for the database with its log."""
COLUMNS = ("transaction_id", "event_time", "card_id", "terminal_id", "amount_minor")
MAPPING = """format_version: 1
database: {table: payments, key: number}
columns: {transaction_id: transaction_id, event_time: event_time, amount: amount_minor}
amount: {currency: EUR, unit: minor}
entities: {card_id: card_id, terminal_id: terminal_id}
"""


def main() -> None:
    parser = measured.parser("database", __doc__)
    options = parser.parse_args()
    if programs() is None:
        parser.error("no PostgreSQL server is installed here (Debian: apt-get install postgresql)")
    measured.make_ready(parser, options, bytes_a_row=BYTES_A_ROW)
    with running() as server:
        _fill(server, make(options.work, Shape(options.rows)))
        print(json.dumps(_measure(options, server)))


def _fill(server: PostgresServer, lake: Lake) -> None:
    """Bring the lake's rows into a table in their order, with a number as its key."""
    with dbapi.connect(server.uri()) as connection, connection.cursor() as cursor:
        number = 0
        for part in lake.parts(schema.TRANSACTIONS):
            rows = lake.read_part(schema.TRANSACTIONS, part, list(COLUMNS)).select(list(COLUMNS))
            numbers = pa.array(range(number, number + rows.num_rows), pa.int64())
            cursor.adbc_ingest("payments", rows.append_column("number", numbers), mode="create_append")
            number += rows.num_rows
        cursor.execute("alter table payments add primary key (number)")
        connection.commit()


def _measure(options: argparse.Namespace, server: PostgresServer) -> Result:
    out = options.work / f"from-database-{os.getpid()}"
    mapping = options.work / "payments.yaml"
    mapping.write_text(MAPPING)
    load_before = os.getloadavg()[0]
    runs = {
        "ours": partial(_ours, server, mapping, out, options),
        "peer": partial(_plain, server, out),
    }
    try:
        results = in_turn(runs, times(options))
    finally:
        shutil.rmtree(out, ignore_errors=True)
    found = {result["transactions"] for each in results.values() for result in each}
    if found != {options.rows}:
        sys.exit(f"{options.rows} rows were to be read, {found} were")
    return compared(options, results, load_before=load_before)


def _ours(server: PostgresServer, mapping: Path, out: Path, options: argparse.Namespace) -> Result:
    shutil.rmtree(out, ignore_errors=True)
    source = server.uri().replace(f":{PASSWORD}@", "@")
    return run_ours(
        options, "our_ingest", source, str(out), "--mapping", str(mapping), "--password", PASSWORD
    )


def _plain(server: PostgresServer, out: Path) -> Result:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return run(
        [sys.executable, str(SUPPORT / "plain_database.py"), str(out / "rows.parquet"), *COLUMNS],
        URI=server.uri(),
    )


if __name__ == "__main__":
    main()
