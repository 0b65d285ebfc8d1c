"""Bring a lake's scores into PostgreSQL, by the product or plainly; print what it took."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime

from adbc_driver_postgresql import dbapi
from pydantic import SecretStr

from fraud.jobs import mart_publish
from fraud.jobs.mart_rows import reader
from fraud.mart.facts import SCORE
from fraud.settings import MartSettings
from fraud.storage.lake import Lake


def main(contestant: str, uri: str) -> None:
    begun = time.perf_counter()
    published = {"ours": _ours, "peer": _plain}[contestant](Lake(uri), os.environ["MART"])
    print(json.dumps({"seconds": time.perf_counter() - begun, "published": published}))


def _ours(lake: Lake, database: str) -> int:
    settings = MartSettings(uri=SecretStr(database))
    report = mart_publish.run(lake, settings, label_maturity_d=7, base_currency="EUR", now=datetime.now(UTC))
    return int(report["added"][SCORE.name])


def _plain(lake: Lake, database: str) -> int:
    rows = reader(lake, SCORE, lake.parts(SCORE.source), datetime.now(UTC))
    with dbapi.connect(database) as connection, connection.cursor() as cursor:
        count = cursor.adbc_ingest("scores", rows, mode="create")
        connection.commit()
    return int(count)


if __name__ == "__main__":
    main(*sys.argv[1:])
