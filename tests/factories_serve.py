"""A service that can run: a small model of its own, an empty state, a pointer, a journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import xgboost as xgb
from factories_policy import make_policy

from fraud.features import spec
from fraud.features.layout import Layout
from fraud.features.spec import FeatureSet
from fraud.model import bundle, histogram, reason_catalogue
from fraud.model.calibration import Calibration
from fraud.model.policy import canonical
from fraud.settings import MoneySettings
from fraud.storage import journal as journals
from fraud.storage import state
from serve_app.asgi import application
from serve_app.places import Places
from serve_app.replica import Replica
from serve_app.settings import ServeSettings

FEATURES = """
format_version: 1
name: served
time_zone: UTC
features:
  - column: amount
  - column: distance_km
  - categorical: channel
    values: [web, shop]
  - window: card_id
    of: amount
    stats: [count, mean]
    spans: [1d]
    empty: 0
  - window: terminal_id
    of: fraud
    stats: [count, mean]
    spans: [7d]
    delay: 1d
    empty: 0
"""
FEATURE_SET = spec.load_text(FEATURES, "served.yaml")
MONEY = MoneySettings.model_validate(
    {"base_currency": "EUR", "rates": [{"currency": "USD", "since": "2020-01-01", "rate": 0.5}]}
)

REASONS = Path(__file__).parents[1] / "configs" / "reasons"
CATALOGUE = reason_catalogue.load("en", REASONS)


def make_served(
    folder: Path, version: str = "1", *, seed: int = 0, feature_set: FeatureSet = FEATURE_SET
) -> Path:
    """Write a bundle that declines large amounts, a policy and the pointer to them; return the pointer."""
    rng = np.random.default_rng(seed)
    names = feature_set.names
    rows = rng.uniform(0, 20, (400, len(names))).astype(np.float32)
    rows[:, 0] = rng.uniform(0, 20_000, 400)
    booster = xgb.train(
        {
            "objective": "binary:logistic",
            "max_depth": 3,
            "learning_rate": 0.5,
            "base_score": 0.5,
            "nthread": 1,
        },
        xgb.DMatrix(rows, (rows[:, 0] > 10_000).astype(int)),
        num_boost_round=10,
    )
    reference = {name: histogram.build(rows[:, at]) for at, name in enumerate(names)}
    reference["score"] = histogram.build(np.linspace(0, 1, 50))
    digest = bundle.save(
        folder / f"bundle-{version}",
        booster=booster,
        feature_set=feature_set,
        calibration=Calibration((0.0, 1.0), (0.0, 1.0)),
        reference=reference,
        golden_rows=bundle.golden_rows(reference, names),
        metadata={},
    )
    policy = make_policy(f"p{version}", max_reasons=3)
    (folder / f"policy-{version}.json").write_bytes(canonical(policy.to_json()))
    return point(folder, version, digest)


def point(folder: Path, version: str, digest: str) -> Path:
    """Rename a pointer to a version into place and return it."""
    fresh = folder / "pointer.new"
    fields = {"bundle": f"bundle-{version}", "policy": f"policy-{version}.json"}
    fresh.write_bytes(orjson.dumps({"model": "fraud", "version": version, "digest": digest, **fields}))
    return fresh.rename(folder / "pointer.json")


def make_places(folder: Path, *, kept: FeatureSet = FEATURE_SET) -> Places:
    """Everything a replica opens, in one folder; the state keeps what a feature set needs."""
    state.create(folder / "state", state.empty(Layout.of([kept]), datetime(2026, 1, 1, tzinfo=UTC)))
    return Places(make_served(folder), folder / "state", folder / "journal")


@asynccontextmanager
async def running_client(
    places: Places, language: str = "en", **changes: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Replica]]:
    """A client of the application in this process, without Serve."""
    settings = ServeSettings.model_validate(changes)
    replica = Replica(places, MONEY, reason_catalogue.load(language, REASONS), settings)
    transport = httpx.ASGITransport(application(replica, settings), raise_app_exceptions=False)
    async with replica.running(), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client, replica


def transaction(**changes: Any) -> dict[str, Any]:
    """A valid body, with changes."""
    body: dict[str, Any] = {
        "transaction_id": "tx-1",
        "event_time": "2026-02-01T12:00:00Z",
        "amount_minor": 4250,
        "currency": "EUR",
        "card_id": "tok-1",
        "terminal_id": "t-1",
        "attributes": {"channel": "web", "distance_km": 1.5},
    }
    return {**body, **changes}


def journalled(places: Places) -> list[dict[str, Any]]:
    """All records of the journal."""
    return [orjson.loads(r) for segment in journals.segments(places.journal) for r in journals.read(segment)]
