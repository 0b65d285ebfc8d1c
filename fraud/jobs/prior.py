"""Scores of a booster that was trained on fewer genuine rows, as if it had seen all of them.

Keeping every fraud and a share s of the genuine rows multiplies the odds of fraud by 1/s everywhere, so a
logistic booster learns margins that are log(1/s) too high. ``corrected`` takes that off the booster's base
score: whoever scores with it needs to know nothing.
"""

from __future__ import annotations

import json

import xgboost as xgb

from fraud.model.booster import from_json, to_json


def corrected(booster: xgb.Booster, share: float) -> xgb.Booster:
    """Return the booster as if no genuine row had been left out: all its margins change by log(share).

    Args:
        booster: A binary logistic booster, trained on all frauds and that share of the genuine rows.
        share: Above 0, at most 1.
    """
    if share >= 1:
        return booster
    model = json.loads(to_json(booster))
    parameters = model["learner"]["learner_model_param"]
    base = float(parameters["base_score"].strip("[]"))
    odds = share * base / (1 - base)
    parameters["base_score"] = f"[{odds / (1 + odds):.9e}]"
    return from_json(json.dumps(model).encode(), path="the corrected booster")
