"""The peer: one plain `xgboost.train` with two threads on the same Parquet files, in a process of its own.

It reads file by file into one float32 matrix, so that the Arrow tables never stand beside it as a whole, and
frees the matrix once it is binned: less memory than `pandas.read_parquet` and `DMatrix` would take.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import xgboost as xgb


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("booster", type=Path)
    parser.add_argument("--label", required=True)
    parser.add_argument("--params", type=json.loads, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    options = parser.parse_args()
    times = [time.perf_counter()]
    features, label, names = _read(sorted((options.folder / "train").glob("*.parquet")), options.label)
    times.append(time.perf_counter())
    params = options.params
    rows = xgb.QuantileDMatrix(
        features, label=label, feature_names=names, max_bin=params["max_bin"], nthread=params["nthread"]
    )
    del features
    times.append(time.perf_counter())
    booster = xgb.train(params, rows, num_boost_round=options.rounds)
    times.append(time.perf_counter())
    booster.save_model(options.booster)
    steps = dict(zip(("read", "bin", "boost"), np.diff(times).tolist(), strict=True))
    print(json.dumps({"seconds": times[-1] - times[0], "steps": steps, "name": f"xgboost {xgb.__version__}"}))


def _read(files: list[Path], label: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    names = [name for name in pq.read_schema(files[0]).names if name != label]
    lengths = [pq.read_metadata(file).num_rows for file in files]
    features, truth = np.empty((sum(lengths), len(names)), np.float32), np.empty(sum(lengths), np.float32)
    first = 0
    for file, length in zip(files, lengths, strict=True):
        table = pq.read_table(file)
        for place, name in enumerate(names):
            features[first : first + length, place] = table.column(name)
        truth[first : first + length] = table.column(label)
        first += length
    return features, truth, names


if __name__ == "__main__":
    main()
