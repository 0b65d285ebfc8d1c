r"""Publishing N scores into PostgreSQL: the product against one plain ingest of the same rows.

Ours reads the lake's files, stages them, puts them under a primary key and an index where they are not there
yet, fills the dimensions and makes the views, all in one transaction. The plain one copies the same rows into
a table without any index, and could not run twice. The server is started here and stopped at the end.

    make bench-mart ROWS=5000000
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from support import measured
from support.measured import Result, compared, in_turn, run, times

from fraud import schema
from fraud.storage.lake import Lake

sys.path.append(str(Path(__file__).parents[1]))

from factories import transaction_table
from factories_mart import START
from postgres_server import PostgresServer, programs, running

BYTES_A_ROW = 900
"""Disk for the lake, and for the database with its log and its stage."""
DAYS = 100


def main() -> None:
    parser = measured.parser("mart", __doc__)
    options = parser.parse_args()
    if programs() is None:
        parser.error("no PostgreSQL server is installed here (Debian: apt-get install postgresql)")
    measured.make_ready(parser, options, bytes_a_row=BYTES_A_ROW)
    with running() as server:
        print(json.dumps(_measure(options, server)))


def _measure(options: argparse.Namespace, server: PostgresServer) -> Result:
    lake = _lake(options)
    load_before = os.getloadavg()[0]
    runs: dict[str, Callable[[], Result]] = {
        name: partial(_contestant, name, lake, server) for name in ("ours", "peer")
    }
    results = in_turn(runs, times(options))
    for result in (result for each in results.values() for result in each):
        if result["published"] != options.rows:
            sys.exit(f"{options.rows} rows were to be published, {result['published']} were")
    return compared(options, results, load_before=load_before)


def _contestant(name: str, lake: Lake, server: PostgresServer) -> Result:
    """Run one of the two in a database of its own, so that both begin with nothing."""
    with dbapi.connect(server.uri(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("drop database if exists reports")
        cursor.execute("create database reports")
    command = [sys.executable, "-m", "support.mart_contestant", name, lake.uri]
    return run(
        command,
        PYTHONPATH=str(Path(__file__).parents[2]) + ":" + str(Path(__file__).parent),
        MART=server.uri("reports"),
    )


def _lake(options: argparse.Namespace) -> Lake:
    """The lake with so many scores, made where the work directory does not hold it yet."""
    lake = Lake(str(options.work / f"scores-{options.rows}"))
    if not lake.exists(schema.SCORES):
        shutil.rmtree(lake.uri, ignore_errors=True)
        lake.append(schema.TRANSACTIONS, transaction_table([{"transaction_id": "t0", "event_time": START}]))
        parts = [
            lake.write_part(schema.SCORES, _scores(day, ids), START.date() + np.timedelta64(day, "D").item())
            for day, ids in enumerate(np.array_split(np.arange(options.rows), DAYS))
        ]
        lake.commit(schema.SCORES, schema.SCORES_SCHEMA, parts)
    return lake


def _scores(day: int, numbers: np.ndarray) -> pa.Table:
    """Scores of a day: ids in no order, as a source gives them."""
    rng = np.random.default_rng(day)
    n = numbers.size
    event_time = np.datetime64(START.replace(tzinfo=None), "us") + np.timedelta64(day, "D")
    score = rng.random(n)
    ids = pa.array(rng.permutation(numbers)).cast(pa.string())
    alike = {"model_version": "1", "run_kind": "live", "model_digest": "d" * 64, "policy_version": "1"}
    alike |= {"features_version": "f" * 8, "run_id": "bench"}
    columns = {
        "transaction_id": ids,
        "event_time": pa.array(event_time + rng.integers(0, 86_400_000_000, n)).cast(schema.TIME),
        **{name: pa.repeat(value, n) for name, value in alike.items()},
        "score": pa.array(score),
        "probability": pa.array(score / 10),
        "decision": pa.array(np.where(score > 0.99, "review", "approve").tolist(), pa.string()),
        "reasons": pa.array([["CARD_VELOCITY"] if value > 0.99 else [] for value in score]),
        "scored_at": pa.array(np.full(n, event_time + np.timedelta64(1, "D"))).cast(schema.TIME),
    }
    stored = [field for field in schema.SCORES_SCHEMA if field.name != schema.PARTITION]
    return pa.table([columns[field.name] for field in stored], schema=pa.schema(stored))


if __name__ == "__main__":
    main()
