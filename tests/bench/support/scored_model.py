"""A model of full size to score with, trained on the Handbook data, and a policy that declines some."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import xgboost as xgb

from cluster.settings import CONFIGS
from fraud import schema
from fraud.features import spec
from fraud.features.encode import matrix
from fraud.model import bundle, histogram
from fraud.model.calibration import Calibration
from fraud.model.cost import Costs
from fraud.model.policy import Policy
from fraud.storage.lake import Lake

FEATURES = spec.load("handbook", CONFIGS / "features")
ROUNDS, DEPTH = 300, 6
DAYS = (date(2018, 5, 1), date(2018, 5, 8))
"""What it is trained on."""


def prepare(folder: Path, lake: Lake, threads: int) -> Path:
    """Return the folder of a bundle trained on days of a lake with features; made where it is missing."""
    made = folder / "bundle"
    if made.exists():
        return made
    rows = lake.read(FEATURES.table, columns=["transaction_id", *FEATURES.names], days=DAYS)
    labels = lake.read(schema.LABELS, columns=["transaction_id", "is_fraud"])
    frauds = labels.filter(labels.column("is_fraud")).column("transaction_id").combine_chunks()
    truth = pc.is_in(rows.column("transaction_id"), value_set=frauds).to_numpy()
    values = matrix(rows, FEATURES.names)
    params = {"objective": "binary:logistic", "max_depth": DEPTH, "learning_rate": 0.1, "base_score": 0.5}
    booster = xgb.train(params | {"nthread": threads}, xgb.DMatrix(values, truth), num_boost_round=ROUNDS)
    reference = {name: histogram.build(values[:, at]) for at, name in enumerate(FEATURES.names)}
    scores = booster.inplace_predict(values).astype(np.float64)
    reference["score"] = histogram.build(scores)
    bundle.save(
        made,
        booster=booster,
        feature_set=FEATURES,
        calibration=Calibration((0.0, 1.0), (0.0, 1.0)),
        reference=reference,
        golden_rows=bundle.golden_rows(reference, FEATURES.names),
        metadata={},
    )
    (folder / "quantiles.json").write_text(json.dumps(np.quantile(scores, np.linspace(0, 1, 1001)).tolist()))
    return made


def policy(made: Path, reviewed: float) -> Policy:
    """One that declines about so large a share of the transactions, and gives reasons for it."""
    quantiles = json.loads((made.parent / "quantiles.json").read_text())
    decline = quantiles[round((1 - reviewed) * (len(quantiles) - 1))] if reviewed else 1.0
    costs = Costs(review_cost_minor=0, loss_share=1.0, fraud_cost_minor=10**9, friction_cost_minor=0)
    return Policy("bench", costs, None, decline_probability=decline)
