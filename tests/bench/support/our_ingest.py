"""Ingest a folder with the product, in a process of its own; print what it took."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

from pydantic import SecretStr
from support import our_ray

from cluster import wiring
from cluster.runtime import connect
from fraud.jobs import ingest
from fraud.jobs.source import SourceName
from fraud.storage.lake import Lake


def main() -> None:
    parser = our_ray.parser()
    parser.add_argument("source")
    parser.add_argument("lake")
    parser.add_argument("--mapping", default="handbook")
    parser.add_argument("--password", default="", help="of a database")
    options = parser.parse_args()
    settings = our_ray.settings(options)
    begun = time.perf_counter()
    with connect(settings.ray, name="bench-ingest"):
        started = time.perf_counter()
        report = ingest.run(
            Lake(options.lake),
            SourceName(options.source, password=SecretStr(options.password)),
            wiring.mapping(options.mapping),
            ingest=settings.ingest,
            money=settings.money,
            now=datetime.now(UTC),
        )
        seconds = time.perf_counter() - started
    counts = {name: report[name] for name in ("transactions", "labels", "rejected")}
    print(json.dumps({"seconds": seconds, "start_s": started - begun, **counts}))


if __name__ == "__main__":
    main()
