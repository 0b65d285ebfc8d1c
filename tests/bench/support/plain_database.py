"""Copy a table of PostgreSQL into a Parquet file, as one plain process would; print what it took."""

from __future__ import annotations

import json
import os
import sys
import time

import pyarrow.parquet as pq
from adbc_driver_postgresql import dbapi


def main() -> None:
    out, *columns = sys.argv[1:]
    started = time.perf_counter()
    rows = 0
    with dbapi.connect(os.environ["URI"]) as connection, connection.cursor() as cursor:
        cursor.execute(f"select {', '.join(columns)} from payments")
        batches = cursor.fetch_record_batch()
        with pq.ParquetWriter(out, batches.schema) as file:
            for batch in batches:
                file.write_batch(batch)
                rows += batch.num_rows
    print(json.dumps({"seconds": time.perf_counter() - started, "transactions": rows}))


if __name__ == "__main__":
    main()
