"""Train with the product's engine on Parquet files, in a process of its own; print what it took.

Ray is started first and not counted; everything from the files to the booster is.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from support import our_ray
from support.training_rows import LABEL, NAMES

from cluster.runtime import connect
from fraud.model.booster import to_json


def main() -> None:
    parser = our_ray.parser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("booster", type=Path)
    parser.add_argument("--engine", required=True)
    options = parser.parse_args()
    settings = our_ray.settings(options, train__engine=options.engine, train__workers=2)
    with connect(settings.ray, name="bench-train"), tempfile.TemporaryDirectory() as storage:
        import ray.data  # after its environment is set

        from fraud.jobs import engine

        started = time.perf_counter()
        rows = ray.data.read_parquet(str(options.folder / "train")).select_columns([LABEL, *NAMES])
        (booster,) = engine.fit([rows], NAMES, settings.train, storage=Path(storage))
        seconds = time.perf_counter() - started
    options.booster.write_bytes(to_json(booster))
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
