"""From features to a decision: score, probability, policy, causes; microseconds a row alone or in a batch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from timeit import repeat

import numpy as np
import xgboost as xgb

from fraud.features.spec import load
from fraud.model import booster as boosters
from fraud.model.calibration import Calibration
from fraud.model.cost import Costs
from fraud.model.policy import Policy
from fraud.model.reasons import Explainer

FOLDER = Path(__file__).parents[2] / "configs" / "features"
CURVE = Calibration(tuple(np.linspace(0, 1, 50).tolist()), tuple(np.linspace(0.01, 0.9, 50).tolist()))
COSTS = Costs(review_cost_minor=500, loss_share=1.0, fraud_cost_minor=100, friction_cost_minor=1_000)
POLICY = Policy("bench", COSTS, 100.0)
BATCH = 100


def trained(features: int, trees: int) -> tuple[xgb.Booster, np.ndarray]:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(20_000, features)).astype(np.float32)
    is_fraud = matrix[:, 0] + matrix[:, 1] * matrix[:, 2] + rng.normal(size=len(matrix)) > 1.5
    params = {"max_depth": 6, "objective": "binary:logistic", "eta": 0.05}
    booster = xgb.train(params, xgb.DMatrix(matrix, is_fraud), trees)
    return boosters.from_json(boosters.to_json(booster), path="bench"), matrix[:BATCH]


def best(work: Callable[[], object], rows: int = 1) -> float:
    work()
    return round(min(repeat(work, number=20, repeat=50)) / 20 / rows * 1e6, 1)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--features", default="rich", help="A feature set of configs/features.")
    options.add_argument("--trees", type=int, default=300)
    given = options.parse_args()
    feature_set = load(given.features, FOLDER)
    booster, batch = trained(len(feature_set.names), given.trees)
    alone, explainer = boosters.RowScorer(booster), Explainer(booster, feature_set)
    row, scores = batch[:1].copy(), boosters.predict(booster, batch)
    probabilities, amounts = CURVE.probability(scores), np.full(BATCH, 1_000)
    found = {
        "predict": best(lambda: boosters.predict(booster, row)),
        "row_scorer": best(lambda: alone.score(row[0])),
        "probability": best(lambda: CURVE.probability(scores[:1])),
        "decide": best(lambda: POLICY.decide(probabilities[:1], amounts[:1])),
        "causes": best(lambda: explainer.causes(row, most=4)),
        "batch": {
            "predict": best(lambda: boosters.predict(booster, batch), BATCH),
            "probability": best(lambda: CURVE.probability(scores), BATCH),
            "decide": best(lambda: POLICY.decide(probabilities, amounts), BATCH),
        },
    }
    print(json.dumps({"features": given.features, "trees": given.trees, **found}))


if __name__ == "__main__":
    main()
