"""What becomes of an evaluation: a run in MLflow and, where it read test weeks, a number in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from fraud.features.spec import FeatureSet
from fraud.jobs import provenance
from fraud.storage import readings
from fraud.storage.lake import Lake
from fraud.storage.readings import Reading

if TYPE_CHECKING:  # MLflow costs seconds and is no use to the tasks that score
    from fraud.storage.tracking import Tracking

OWN_DATES: Final = "own-dates"
"""The protocol of folds over the data's own dates."""


def keep(
    lake: Lake,
    tracking: Tracking,
    feature_set: FeatureSet,
    report: Mapping[str, Any],
    *,
    chosen: Mapping[str, Any],
    is_test: bool,
) -> dict[str, Any]:
    """Keep a report, before anybody sees it.

    Args:
        lake: Has the ledger.
        tracking: Where runs go.
        feature_set: What was evaluated.
        report: Of ``evaluate``.
        chosen: What somebody chose, and so must not choose by these figures.
        is_test: Whether its weeks judge a choice; on others a choice may be made.

    Returns:
        ``reading``: ``ordinal``, ``headline`` and ``configuration_digest``, or None where no test weeks were
        read; ``run_id``: of the run in MLflow.
    """
    protocol = report["protocol"] or OWN_DATES
    figures = _means(report)
    tags = {"job": "evaluate", "protocol": protocol, "features_version": feature_set.version}
    with tracking.run(f"evaluate {protocol}", tags=tags) as run:
        reading = None
        if is_test:
            code, version = provenance.code_version(), feature_set.version
            entry = readings.append(lake, Reading(protocol, feature_set.name, version, chosen, code, figures))
            reading = entry.to_json()
            run.tags({f"reading_{name}": str(value) for name, value in reading.items()})
        run.params(
            {f"{section}.{name}": value for section, each in chosen.items() for name, value in each.items()}
        )
        run.metrics({name: value for name, value in figures.items() if value is not None})
        run.document({**report, "reading": reading}, "evaluation.json")
    return {"reading": reading, "run_id": run.id}


def _means(report: Mapping[str, Any]) -> dict[str, float | None]:
    figures = {
        name: value for name, value in report.items() if isinstance(value, Mapping) and "mean" in value
    }
    return {name: value["mean"] for name, value in figures.items()}
