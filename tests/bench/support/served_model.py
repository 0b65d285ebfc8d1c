"""A model of full size to serve, and everything a replica opens, in one folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import xgboost as xgb

from fraud.features.layout import Layout
from fraud.features.spec import FeatureSet
from fraud.model import bundle, histogram
from fraud.model.calibration import Calibration
from fraud.model.cost import Costs
from fraud.model.policy import Policy, canonical
from fraud.storage import state

ROUNDS, DEPTH = 300, 6
_ROWS = 20_000
_COSTS = Costs(review_cost_minor=0, loss_share=1.0, fraud_cost_minor=1, friction_cost_minor=5000)
APPROVE_ALL = Policy("approve-all", _COSTS, None, decline_probability=1.0)
REVIEW_ALL = Policy("review-all", _COSTS, 0.0, decline_probability=1.0)


def prepare(folder: Path, feature_set: FeatureSet) -> Path:
    """Write a bundle of full trees, both policies, an empty state and a pointer; return the folder."""
    rng = np.random.default_rng(0)
    names = feature_set.names
    rows = rng.uniform(0, 20, (_ROWS, len(names))).astype(np.float32)
    rows[:, 0] = rng.uniform(0, 20_000, _ROWS)
    truth = rows[:, 0] / 10_000 + rows[:, 1:].sum(axis=1) / (10 * len(names)) + rng.normal(0, 1, _ROWS) > 3
    settings = {
        "objective": "binary:logistic",
        "max_depth": DEPTH,
        "learning_rate": 0.1,
        "min_child_weight": 0,
    }
    booster = xgb.train({**settings, "base_score": 0.5}, xgb.DMatrix(rows, truth), num_boost_round=ROUNDS)
    reference = {name: histogram.build(rows[:, at]) for at, name in enumerate(names)}
    reference["score"] = histogram.build(np.linspace(0, 1, 50))
    digest = bundle.save(
        folder / "bundle",
        booster=booster,
        feature_set=feature_set,
        calibration=Calibration((0.0, 1.0), (0.0, 1.0)),
        reference=reference,
        golden_rows=bundle.golden_rows(reference, names),
        metadata={},
    )
    state.create(folder / "state", state.empty(Layout.of([feature_set]), datetime(2026, 1, 1, tzinfo=UTC)))
    for policy in (APPROVE_ALL, REVIEW_ALL):
        (folder / f"{policy.version}.json").write_bytes(canonical(policy.to_json()))
    point(folder, digest, APPROVE_ALL)
    return folder


def point(folder: Path, digest: str, policy: Policy) -> None:
    """Have the bundle served with a policy."""
    fresh = folder / "pointer.new"
    fields = {"bundle": "bundle", "policy": f"{policy.version}.json"}
    fresh.write_bytes(orjson.dumps({"model": "bench", "version": policy.version, "digest": digest, **fields}))
    fresh.rename(folder / "pointer.json")
