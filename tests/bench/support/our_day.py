"""Bring a day through ingest, features and scores, in a process of its own; print what each took."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from support import our_ray
from support.scored_model import FEATURES, policy

from cluster import wiring
from cluster.runtime import connect
from fraud.jobs import featurize, ingest, score
from fraud.jobs.source import SourceName
from fraud.model import bundle
from fraud.storage.lake import Lake
from fraud.storage.registry import ModelRef


def main() -> None:
    parser = our_ray.parser()
    parser.add_argument("lake")
    parser.add_argument("source")
    parser.add_argument("bundle", type=Path)
    options = parser.parse_args()
    settings = our_ray.settings(options)
    lake, now = Lake(options.lake), datetime.now(UTC)
    model = bundle.load(options.bundle)
    version = model.feature_set.version
    ref = ModelRef("bench", "1", "run", model.digest, "policy", version, "{}", now)
    begun = time.perf_counter()
    with connect(settings.ray, name="bench-day"):
        started = time.perf_counter()
        came = ingest.run(
            lake,
            SourceName(options.source),
            wiring.mapping("handbook"),
            ingest=settings.ingest,
            money=settings.money,
            now=now,
        )
        ingested = time.perf_counter()
        features = featurize.run(lake, FEATURES, settings.features)
        featurized = time.perf_counter()
        day = max(part.day for part in lake.parts(FEATURES.table))
        scores = score.run(
            lake, ref, model, policy(options.bundle, 0.01), settings=settings.score, first=day, last=day
        )
        ended = time.perf_counter()
    print(
        json.dumps(
            {
                "seconds": ended - started,
                "start_s": started - begun,
                "ingest_s": ingested - started,
                "featurize_s": featurized - ingested,
                "score_s": ended - featurized,
                "transactions": came["transactions"],
                "featurized": features["transactions"],
                "scored": scores["scored"],
            }
        )
    )


if __name__ == "__main__":
    main()
