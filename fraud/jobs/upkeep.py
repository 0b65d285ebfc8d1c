"""Upkeep of the lake: files that no table needs any more are deleted, small files become large ones."""

from __future__ import annotations

import time
from typing import Any, Final

from fraud import schema
from fraud.errors import ConfigError
from fraud.storage.lake import Lake

_COMPACTED: Final = frozenset(
    {
        schema.SCORES,
        schema.DECISIONS,
        schema.REJECTS,
        schema.INGESTED_FILES,
        schema.RUNS,
        schema.SCHEDULE_RUNS,
        schema.ALERTS,
        schema.READINGS,
        schema.PROMOTIONS,
        schema.FEATURE_PROOFS,
        schema.MONITOR_PERFORMANCE,
        schema.MONITOR_DRIFT,
    }
)
"""Not transactions, labels and features: what is new in them, and which features belong to which
transactions, is told by their files."""


def vacuum(lake: Lake, *, retention_d: int, label_maturity_d: int, dry_run: bool) -> dict[str, Any]:
    """Delete the files that no version of the last days names: replaced ones, and those of failed runs.

    Args:
        lake: All its tables.
        retention_d: Days that every version stays readable.
        label_maturity_d: Days until the last label is in: what was known then is measured that much later.
        dry_run: Only say what would be deleted.

    Returns:
        ``tables`` (``files`` by name, of those with any), ``files``, ``dry_run`` and ``seconds``.

    Raises:
        ConfigError: Versions would go before their labels are in.
    """
    started = time.monotonic()
    if retention_d < label_maturity_d:
        raise ConfigError(
            f"lake.retention_d = {retention_d}",
            f"is shorter than labels.label_maturity_d = {label_maturity_d}: what was known at a decision "
            "could not be read any more when its labels are in",
        )
    found = {name: lake.vacuum(name, retention_d=retention_d, dry_run=dry_run) for name in lake.tables()}
    return {
        "tables": {name: len(files) for name, files in found.items() if files},
        "files": sum(len(files) for files in found.values()),
        "dry_run": dry_run,
        "seconds": round(time.monotonic() - started, 3),
    }


def optimize(lake: Lake) -> dict[str, Any]:
    """Rewrite many small files as few, where nothing is told by files, and keep every table quick to open.

    Returns:
        ``tables`` (``files_removed`` and ``files_added`` by name, of those that changed) and ``seconds``.
    """
    started = time.monotonic()
    changed: dict[str, dict[str, int]] = {}
    for name in lake.tables():
        removed, added = lake.compact(name) if name in _COMPACTED else (0, 0)
        if removed:
            changed[name] = {"files_removed": removed, "files_added": added}
        lake.checkpoint(name)
    return {"tables": changed, "seconds": round(time.monotonic() - started, 3)}
