"""What to decide at which probability: a versioned artefact of its own, outside the bundle's digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fraud.errors import BundleError, FormatVersionError, NotEnoughDataError
from fraud.settings import PolicySettings

FORMAT_VERSION: Final = 1
APPROVE: Final = "approve"
REVIEW: Final = "review"
DECLINE: Final = "decline"
DECISIONS: Final = (APPROVE, REVIEW, DECLINE)


@dataclass(frozen=True)
class Policy:
    """Thresholds on the calibrated probability; a transaction at a threshold is above it (``>=``).

    Calibrated probabilities rise strictly with the score (see ``calibration.fit``), so a threshold on the
    probability cuts between any two scores and can meet an alert budget.

    Attributes:
        version: Short name; ``fit`` derives it from the content.
        review_probability: Reviewed from here on, unless declined.
        decline_probability: Declined from here on.
        reviews_per_day: The alert budget that ``review_probability`` was chosen for.
        max_reasons: Reasons given with a review or a decline.
        fallback: The decision where no score can be had in time.
    """

    version: str
    review_probability: float
    decline_probability: float
    reviews_per_day: int = 0
    max_reasons: int = 4
    fallback: str = REVIEW

    def decide(self, probability: NDArray[np.float64]) -> list[str]:
        """Return approve, review or decline for each probability, shape ``(n,)``."""
        reviewed = np.where(probability >= self.review_probability, REVIEW, APPROVE)
        decided: list[str] = np.where(probability >= self.decline_probability, DECLINE, reviewed).tolist()
        return decided

    def reasons_asked(self, probability: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which rows are reviewed or declined and so need reasons, shape ``(n,)``."""
        return probability >= min(self.review_probability, self.decline_probability)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(canonical(self.to_json())).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the policy as a plain dict with its format version."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}


def canonical(value: Any) -> bytes:
    """Return the one JSON text of a value: keys sorted, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def from_json(raw: Mapping[str, Any], *, path: str) -> Policy:
    """Read a policy back.

    Raises:
        FormatVersionError: Another release wrote it.
        BundleError: Its fields are missing, unknown or out of range.
    """
    if raw.get("format_version") != FORMAT_VERSION:
        raise FormatVersionError(f"the policy at {path}", raw.get("format_version"), FORMAT_VERSION)
    try:
        policy = Policy(**{name: value for name, value in raw.items() if name != "format_version"})
        in_range = 0 <= policy.review_probability <= 1 and 0 < policy.decline_probability <= 1
    except TypeError as error:
        raise BundleError(path, "policy.json has missing or unknown fields; fit the policy again") from error
    if not in_range or policy.fallback not in DECISIONS or policy.max_reasons < 0:
        raise BundleError(
            path, "policy.json has a threshold outside [0, 1] or a strange fallback; fit it again"
        )
    return policy


def fit(probability: NDArray[np.float64], *, days: int, settings: PolicySettings) -> Policy:
    """Choose the review threshold that fills the alert budget on the calibration days.

    Declined transactions cost no review, so the budget of ``reviews_per_day`` times ``days`` goes to the
    highest probabilities below ``decline_probability``. Where several rows tie at the edge of the budget
    none of them is reviewed: the budget is never exceeded.

    Args:
        probability: Of every transaction scored in those days, shape ``(n,)``.
        days: Calendar days they span.
        settings: The budget and the decline threshold.

    Raises:
        NotEnoughDataError: There are no transactions or no days.
    """
    if days < 1 or not len(probability):
        raise NotEnoughDataError("a policy needs scored transactions of at least one day: ingest more days")
    decline = settings.decline_probability
    rows = np.sort(probability[probability < decline])[::-1]
    budget = settings.reviews_per_day * days
    policy = Policy(
        version="",
        review_probability=_threshold(rows, budget, decline),
        decline_probability=decline,
        reviews_per_day=settings.reviews_per_day,
        max_reasons=settings.max_reasons,
    )
    return replace(policy, version=policy.digest[:8])


def _threshold(descending: NDArray[np.float64], budget: int, none: float) -> float:
    """Return the lowest threshold that at most ``budget`` rows reach; ``none`` where no row fits."""
    if budget >= len(descending):
        return float(descending[-1]) if len(descending) else none
    above = descending[:budget][descending[:budget] > descending[budget]]
    return float(above[-1]) if len(above) else none
