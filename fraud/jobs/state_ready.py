"""Whether the online state of a work directory is ready for a model that is to become champion."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from fraud.features.spec import FeatureSet
from fraud.model.gate import Check
from fraud.schema import LABELS, TRANSACTIONS
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState

_NAME = "online_state"


def check(lake: Lake, path: Path, feature_set: FeatureSet, *, max_lag_s: float, now: datetime) -> Check:
    """Check that the state answers the features, and that it has caught up with the lake.

    Args:
        lake: What the state follows.
        path: The state's folder.
        feature_set: The model's.
        max_lag_s: For how long rows may be in the lake that the state has not read.
        now: The present.

    Raises:
        ConfigError: There is no state.
        FormatVersionError: Another release wrote it.
    """
    state = OnlineState.open(path)
    try:
        about, layout = state.about, state.layout
    finally:
        state.close()
    if not layout.covers(feature_set):
        says = (
            f"the online state keeps less than the features {feature_set.name} need: make the model the "
            "challenger, and a running service builds what is missing, or run `fraud state build`"
        )
        return Check(_NAME, None, None, passed=False, says=says)
    read = {TRANSACTIONS: about.transactions_version, LABELS: about.labels_version}
    lag_s = max(_unread_s(lake, name, version, now) for name, version in read.items())
    if about.until_us is not None or lag_s > max_lag_s:
        says = (
            "the online state is behind the lake: run `fraud state follow`, or wait for the service to do so"
        )
        return Check(_NAME, lag_s, max_lag_s, passed=False, says=says)
    return Check(_NAME, lag_s, max_lag_s, passed=True, says="the online state answers the model's features")


def _unread_s(lake: Lake, name: str, read: int | None, now: datetime) -> float:
    """For how long the lake has had rows of a table that were not read, seconds."""
    newest = lake.version(name)
    if newest is None or newest == read:
        return 0.0
    committed = lake.committed_at(name, 0 if read is None else read + 1)
    return (now - committed).total_seconds()
