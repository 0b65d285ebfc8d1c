"""Fewer genuine rows to train on, and scores that still say what all rows would have made them say.

Keeping every fraud and a share s of the genuine rows multiplies the odds of fraud by 1/s everywhere, so a
logistic booster learns margins that are log(1/s) too high. ``corrected`` takes that off the booster's base
score: whoever scores with it needs to know nothing.
"""

from __future__ import annotations

import json
from typing import Final

import numpy as np
import pyarrow as pa
import xgboost as xgb

from fraud.model.booster import from_json, to_json
from fraud.xxh3 import hashes

ID: Final = "transaction_id"
"""The column that decides which genuine rows stay: the same ones in every run."""

_HASHES: Final = 2**64


def keep(rows: pa.Table, label: str, share: float) -> pa.Table:
    """Return every fraud and about a share of the genuine rows, chosen by the hash of their ids.

    Args:
        rows: With the label, bool, and ``transaction_id``.
        label: Name of the label column.
        share: Above 0, at most 1. The rows of a smaller share are among those of a larger one.
    """
    if share >= 1:
        return rows
    is_fraud = np.asarray(rows.column(label).to_numpy(), np.bool_)
    chosen = hashes(rows.column(ID), null=0).view(np.uint64) < np.uint64(share * _HASHES)
    return rows.filter(pa.array(is_fraud | chosen))


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
