"""Models that are swapped, damaged, and whole services deployed anew, at 200 requests a second."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from factories_serve import FEATURES, make_served, point
from serve_process import Service
from serving import Traffic, answered, check, most, until, zero

from fraud.features import spec
from fraud.features.layout import Layout
from fraud.features.spec import FeatureSet
from fraud.storage import state

RATE = 200.0


def _without(text: str) -> FeatureSet:
    return spec.load_text(FEATURES.replace(text, ""), "served.yaml")


WHOLE = spec.load_text(FEATURES, "served.yaml")
NARROW = _without("  - column: distance_km\n")
"""Has every feature of ``WHOLE`` but an attribute."""

LONGER = spec.load_text(FEATURES.replace("[1d]", "[1d, 3d]"), "served.yaml")
SHORTER = spec.load_text(FEATURES.replace("[7d]", "[5d]"), "served.yaml")
FEATURE_SETS = (NARROW, NARROW, LONGER, LONGER, SHORTER, SHORTER, NARROW, NARROW, WHOLE, WHOLE, WHOLE)
"""Of the models in their turn: three swaps to other features, and one that adds an attribute."""


@dataclass(frozen=True)
class Models:
    """The models that are known, by version."""

    folder: Path
    digests: Mapping[str, str]

    def serve(self, version: str) -> None:
        """Have a model serve."""
        point(self.folder, version, self.digests[version])


def prepare(folder: Path, count: int) -> Models:
    """Make a service's folder with so many models, the first of which serves, and a state for them all."""
    folder.mkdir(parents=True)
    layout = Layout.of(list(dict.fromkeys(FEATURE_SETS)))
    state.create(folder / "state", state.empty(layout, datetime(2026, 1, 1, tzinfo=UTC)))
    digests = {}
    for number in range(count):
        pointer = make_served(folder, str(number), seed=number, feature_set=FEATURE_SETS[number])
        digests[str(number)] = json.loads(pointer.read_bytes())["digest"]
    models = Models(folder, digests)
    models.serve("0")
    return models


def damage(models: Models) -> str:
    """Add a model whose booster was changed after it was made; return its digest."""
    pointer = make_served(models.folder, "damaged", seed=99, feature_set=NARROW)
    digest = str(json.loads(pointer.read_bytes())["digest"])
    booster = models.folder / "bundle-damaged" / "booster.json"
    raw = bytearray(booster.read_bytes())
    raw[len(raw) // 2] ^= 1
    booster.write_bytes(raw)
    return digest


def swaps(service: Service, models: Models, *, seed: int, **load: float) -> None:
    """Swap to each model in its turn, and once to a damaged one, which must not serve, and back."""
    slowest = 0.0
    with Traffic(service.url, models.folder, **{"rate": RATE, **load}, seed=seed, retries=0) as traffic:
        time.sleep(1)
        for version in list(models.digests)[1:]:
            models.serve(version)
            slowest = max(slowest, until(lambda v=version: all_serve(service, v), within_s=20))
            time.sleep(1)
        damaged = damage(models)
        time.sleep(3)
        models.serve(version)
        report = traffic.stop()
    served = set(report.digests)
    check(
        "model swaps",
        len(models.digests) - 1,
        {
            "answers other than 2xx: 0": answered(report),
            "answers without exactly one model: 0": zero(report.no_digest),
            "answers by an unknown model: 0": zero(len(served - {*models.digests.values(), damaged})),
            "models that never served: 0": zero(len(set(models.digests.values()) - served)),
            "answers by the damaged model: 0": zero(report.digests.get(damaged, 0)),
            "on all replicas within 10 s": most(slowest, 10),
        },
    )


def all_serve(service: Service, version: str) -> bool:
    """Whether a few requests in a row, which reach all replicas, are told of this version."""
    import httpx

    with httpx.Client(base_url=service.url) as client:
        told = [client.get("/v1/models").json()["models"][0]["version"] for _ in range(8)]
    return set(told) == {version}


def redeployments(service: Service, models: Models, *, times: int, seed: int, **load: float) -> None:
    """Deploy the service anew, again and again, with a setting that replaces every replica."""
    replicas, old, kept = service.ready(), service.replicas(), 0
    with Traffic(service.url, models.folder, **{"rate": RATE, **load}, seed=seed, retries=0) as traffic:
        time.sleep(1)
        for number in range(times):
            service.ask("deploy", settings={"max_future_s": 200 + number})
            service.await_ready(replicas, within_s=60)
            kept += len({*old} & {*(old := service.replicas())})
        report = traffic.stop()
    check(
        "rolling redeployments",
        times,
        {
            "answers other than 2xx: 0": answered(report),
            "answers without exactly one model: 0": zero(report.no_digest),
            "replicas that were not replaced: 0": zero(kept),
        },
    )
