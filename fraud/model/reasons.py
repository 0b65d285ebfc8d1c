"""Why a transaction is reviewed or declined, in an analyst's words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

_WINDOW: Final = re.compile(
    r"(?P<entity>.+?)(?:_(?P<of>amount|fraud))?_(?P<stat>count|sum|mean)_(?P<span>\d+[smhd])"
    r"(?:_delay_(?P<delay>\d+[smhd]))?"
)
"""The names that ``fraud.features.spec.Window.name`` gives."""

_UNITS: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_MEASURES: Final = {
    (None, "count"): "number of transactions",
    ("amount", "sum"): "total amount in minor units",
    ("amount", "mean"): "mean amount in minor units",
    ("fraud", "sum"): "number of known frauds",
    ("fraud", "mean"): "share of known frauds",
}
_FLAG: Final = "is_"


def reasons(
    booster: xgb.Booster, matrix: NDArray[np.float32], names: Sequence[str], *, most: int
) -> list[tuple[str, ...]]:
    """Return what raised the score of each row, the strongest first.

    A reason is a feature with a positive contribution to the margin (exact TreeSHAP) and its value; equal
    contributions keep the order of the features. A row's reasons do not depend on the rows beside it.

    Args:
        booster: The model.
        matrix: Only the rows asked about (this costs several times a score), shape ``(n, features)``.
        names: Features in the model's order.
        most: The most reasons a row gets.
    """
    if matrix.shape[0] == 0 or most == 0:
        return [()] * matrix.shape[0]
    rows = xgb.DMatrix(matrix, nthread=1)
    contributions = booster.predict(rows, pred_contribs=True, validate_features=False)[:, :-1]
    order = np.argsort(-contributions, axis=1, kind="stable")[:, :most]
    return [
        tuple(text(names[at], float(matrix[row, at])) for at in order[row] if contributions[row, at] > 0)
        for row in range(matrix.shape[0])
    ]


def text(name: str, value: float) -> str:
    """Return a feature and its value in words: ``number of transactions of this card, 1 day: 14``."""
    if np.isnan(value):
        return f"{subject(name)}: missing"
    if name.startswith(_FLAG):
        return f"{subject(name)}: {'yes' if value else 'no'}"
    return f"{subject(name)}: {value:.6g}"


@lru_cache(maxsize=4096)
def subject(name: str) -> str:
    """Return what a feature measures, derived from its name."""
    if name == "amount":
        return "amount in minor units"
    found = _WINDOW.fullmatch(name)
    measure = _MEASURES.get((found["of"], found["stat"])) if found else None
    if found is None or measure is None:
        return name.removeprefix(_FLAG).replace("_", " ")
    entity = found["entity"].removesuffix("_id").replace("_", " ")
    delay = f" up to {_duration(found['delay'])} ago" if found["delay"] else ""
    return f"{measure} of this {entity}, {_duration(found['span'])}{delay}"


def _duration(short: str) -> str:
    amount, unit = int(short[:-1]), _UNITS[short[-1]]
    return f"{amount} {unit}{'' if amount == 1 else 's'}"
