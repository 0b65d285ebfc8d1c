"""Scores a lake with a Ray of its own: ``python whole_score.py LAKE BUNDLE LAST``."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from factories_policy import make_policy

from cluster.runtime import connect
from cluster.settings import load
from fraud.jobs import score
from fraud.model import bundle
from fraud.storage.lake import Lake
from fraud.storage.registry import ModelRef


def main() -> None:
    lake, made, last = sys.argv[1:]
    model, settings = bundle.load(Path(made)), load()
    version = model.feature_set.version
    ref = ModelRef("fraud", "1", "run", model.digest, "policy", version, "{}", datetime.now(UTC))
    with connect(settings.ray, name="score"):
        report = score.run(
            Lake(lake), ref, model, make_policy("p1"), settings=settings.score, last=date.fromisoformat(last)
        )
    print(json.dumps({"scored": report["scored"]}))


if __name__ == "__main__":
    main()
