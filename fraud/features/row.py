"""Puts a transaction's features together from its own columns and its windows, for every executor alike.

The online executor calls it with arrays of length one, so there is nothing to keep in step.
"""

from __future__ import annotations

from fraud.features.facts import Floats
from fraud.features.kind import Rows
from fraud.features.spec import FeatureSet


def row_features(feature_set: FeatureSet, rows: Rows) -> dict[str, Floats]:
    """Compute all features of n transactions, each of shape ``(n,)``, in the model's order.

    Args:
        feature_set: What to compute.
        rows: The transactions, with every window in ``features``; what is computed is added there.
    """
    add_row_features(feature_set, rows)
    return {name: rows.features[name] for name in feature_set.names}


def add_row_features(feature_set: FeatureSet, rows: Rows) -> None:
    """Add what is no window to ``rows.features``, which holds every window."""
    for declaration in feature_set.row_kinds:
        rows.features.update(declaration.values(rows))
