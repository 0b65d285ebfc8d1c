"""What a reviewer reads about a model version first: a page of Markdown, kept as its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fraud.model.bundle import Bundle
from fraud.model.policy import Policy

_GATE: Final = "\n\n### Gate"
_LONGEST: Final = 5_000
"""Characters of a description that MLflow keeps."""


def text(bundle: Bundle, policy: Policy, figures: Mapping[str, float]) -> str:
    """Return the page.

    Args:
        bundle: The model.
        policy: In force for it.
        figures: Of the run that trained it, by name, such as ``average_precision``; what is there is shown.
    """
    said, split = bundle.metadata, dict(bundle.metadata.get("split", {}))
    rows = {
        "features": f"{said.get('feature_set', '')} `{bundle.feature_set.version}`, "
        f"{len(bundle.feature_set.names)} of them",
        "trained on": _days(split.get("train")),
        "calibrated on": _days(split.get("calibration")),
        "average precision": _figure(figures.get("average_precision")),
        "AUC ROC": _figure(figures.get("auc_roc")),
        "calibration error": _figure(figures.get("expected_calibration_error")),
        "policy": f"`{policy.version}`, {_reviews(policy)}, nothing declined below "
        f"{policy.decline_probability:g}",
        "data": ", ".join(f"{table} {version}" for table, version in said.get("data_version", {}).items()),
        "code": f"`{said.get('code_version', 'not told')}`",
        "features proved": _proof(said.get("feature_proof")),
        "digest": f"`{bundle.digest}`",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def with_report(description: str, report: str) -> str:
    """Return a description with the newest report of the gate in place of an older one."""
    return f"{description.partition(_GATE)[0]}{_GATE}\n\n{report}"[:_LONGEST]


def _days(span: Any) -> str:
    return f"{span[0]} up to, not including, {span[1]}" if span else "not told"


def _figure(value: float | None) -> str:
    return "not told" if value is None else f"{value:.4f}"


def _reviews(policy: Policy) -> str:
    if policy.review_saving_minor is None:
        return "no reviews"
    return f"reviews that save more than {policy.review_saving_minor:,.0f} minor units"


def _proof(proof: Mapping[str, Any] | None) -> str:
    return f"{proof['rows']} rows up to {proof['last_day']}" if proof else "not when it was trained"
