"""The door through which ``mlflow models serve`` and ``mlflow.pyfunc`` load a bundle; no pickle is read.

The endpoint of this project does not go through here. This one takes finished features and knows no policy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fraud.model import bundle as bundles
from fraud.model.bundle import Bundle


class BundleModel:
    """A bundle that answers frames of features with scores and probabilities."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return ``score`` and ``probability`` of each row of a frame with one column per feature."""
        matrix = data[list(self._bundle.feature_set.names)].to_numpy(np.float32)
        scores = self._bundle.scores(np.ascontiguousarray(matrix))
        return pd.DataFrame({"score": scores, "probability": self._bundle.probabilities(scores)})


def _load_pyfunc(path: str) -> BundleModel:
    """Load the bundle in a folder; MLflow calls this by name."""
    return BundleModel(bundles.load(Path(path)))
