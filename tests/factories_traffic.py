"""Scored transactions for tests of policies and figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from fraud.model.traffic import Traffic


def traffic(**columns: Any) -> Traffic:
    """Traffic of the given columns; the others are one day, one cent, genuine and known, without a card."""
    n = len(next(iter(columns.values())))
    probability = columns.get("probability", [0.0] * n)
    return Traffic(
        day=np.array(columns.get("day", [1] * n), np.int32),
        card=pa.array(columns.get("card", [None] * n), pa.string()),
        amount=np.array(columns.get("amount", [1] * n), np.int64),
        score=np.array(columns.get("score", probability), np.float64),
        probability=np.array(probability, np.float64),
        is_fraud=np.array(columns.get("is_fraud", [False] * n), np.bool_),
        is_known=np.array(columns.get("is_known", [True] * n), np.bool_),
        fraud_type=pa.array(columns.get("fraud_type", [None] * n), pa.string()),
    )
