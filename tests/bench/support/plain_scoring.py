"""Score the features of a lake as one plain process would: pyarrow, XGBoost with its threads, Parquet."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost as xgb


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("features", type=Path, help="A folder of Parquet files.")
    parser.add_argument("booster", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--names", required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    started = time.perf_counter()
    booster = xgb.Booster()
    booster.load_model(options.booster)
    booster.set_param({"nthread": options.threads})
    names = options.names.split(",")
    options.out.mkdir(parents=True)
    pa.set_cpu_count(options.threads)
    files = sorted(options.features.rglob("*.parquet"))
    rows = 0
    for number, file in enumerate(files):
        rows += _score(booster, names, file, options.out / f"{number}.parquet")
    print(json.dumps({"seconds": time.perf_counter() - started, "scored": rows}))


def _score(booster: xgb.Booster, names: list[str], file: Path, out: Path) -> int:
    table = pq.ParquetFile(file).read(["transaction_id", "event_time", *names])
    values = np.column_stack([table.column(name).to_numpy().astype(np.float32) for name in names])
    scores = booster.inplace_predict(values)
    scored = table.select(["transaction_id", "event_time"]).append_column("score", pa.array(scores))
    pq.write_table(scored, out, compression="zstd", compression_level=1)
    return scored.num_rows


if __name__ == "__main__":
    main()
