"""The XGBoost booster: its parameters, its scores, its JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from fraud.errors import BundleError
from fraud.model import trees
from fraud.settings import TrainSettings


def booster_params(settings: TrainSettings) -> dict[str, Any]:
    """Return XGBoost's parameters for one training worker."""
    return {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "eval_metric": "aucpr",
        "learning_rate": settings.learning_rate,
        "max_depth": settings.max_depth,
        "min_child_weight": settings.min_child_weight,
        "subsample": settings.subsample,
        "colsample_bytree": settings.colsample_bytree,
        "reg_lambda": settings.reg_lambda,
        "max_bin": settings.max_bin,
        "base_score": settings.base_score,
        "seed": settings.seed,
        "nthread": settings.threads_per_worker,
    }


def predict(booster: xgb.Booster, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the scores in [0, 1] of rows of features.

    The same row gives the same score whatever rows stand beside it, so batch and online agree to the bit.

    Args:
        booster: A binary logistic booster.
        matrix: Features in the booster's order, shape ``(n, features)``, NaN where missing.
    """
    if matrix.shape[0] == 0:
        return np.empty(0, np.float64)
    scores = booster.inplace_predict(matrix, validate_features=False)
    return np.asarray(scores, np.float64)


def to_json(booster: xgb.Booster) -> bytes:
    """Return the booster as XGBoost JSON: unlike the binary format, a damaged file is refused, not run."""
    return bytes(booster.save_raw(raw_format="json"))


def from_json(raw: bytes, *, path: str) -> xgb.Booster:
    """Load a booster for single-threaded scoring.

    Raises:
        BundleError: The bytes are no booster.
    """
    booster = xgb.Booster()
    try:
        trees.check(raw)
        booster.load_model(bytearray(raw))
    except (ValueError, xgb.core.XGBoostError) as error:
        problem = f"booster.json is not an XGBoost model of this kind ({str(error).partition(chr(10))[0]})"
        raise BundleError(path, f"{problem}; fetch it from the registry again") from error
    booster.set_param({"nthread": 1})
    return booster
