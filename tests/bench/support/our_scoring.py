"""Score the features of a lake with the product, in a process of its own; print what it took."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from support import our_ray
from support.scored_model import policy

from cluster.runtime import connect
from fraud.jobs import score
from fraud.model import bundle
from fraud.storage.lake import Lake
from fraud.storage.registry import ModelRef


def main() -> None:
    parser = our_ray.parser()
    parser.add_argument("lake")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--reviewed", type=float, required=True)
    options = parser.parse_args()
    settings = our_ray.settings(options)
    model = bundle.load(options.bundle)
    version = model.feature_set.version
    ref = ModelRef("bench", "1", "run", model.digest, "policy", version, "{}", datetime.now(UTC))
    begun = time.perf_counter()
    with connect(settings.ray, name="bench-score"):
        started = time.perf_counter()
        report = score.run(
            Lake(options.lake), ref, model, policy(options.bundle, options.reviewed), settings=settings.score
        )
        seconds = time.perf_counter() - started
    counts = {name: report[name] for name in ("rows_in", "scored", "decisions")}
    print(json.dumps({"seconds": seconds, "start_s": started - begun, **counts}))


if __name__ == "__main__":
    main()
