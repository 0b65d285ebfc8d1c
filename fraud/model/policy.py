"""What to decide at which probability and amount: a versioned artefact, outside the bundle's digest.

Of each transaction the policy knows what approving, reviewing and declining are expected to cost, and takes
the least. Reviewers are few: they get the transactions where a review saves most.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fraud.errors import BundleError, FormatVersionError, NotEnoughDataError
from fraud.model import fallback as bands
from fraud.model.cost import Costs, Floats
from fraud.model.fallback import Band
from fraud.settings import PolicySettings

FORMAT_VERSION: Final = 3
APPROVE: Final = "approve"
REVIEW: Final = "review"
DECLINE: Final = "decline"
DECISIONS: Final = (APPROVE, REVIEW, DECLINE)

_AGAIN: Final = "fit another with `fraud policy fit` and activate it"


@dataclass(frozen=True)
class Policy:
    """Costs, and the saving above which a transaction is reviewed.

    For one amount the decision rises with the probability, from approve over review to decline. Every
    operation is elementwise, so a transaction gets the same decision whatever stands beside it.

    Attributes:
        version: Short name; ``fit`` derives it from the content.
        costs: Of approving, reviewing and declining.
        review_saving_minor: Reviewed where a review is expected to save more than this, in minor units; None
            reviews nothing.
        decline_probability: Nothing less probable is declined.
        reviews_per_day: The alert budget that ``review_saving_minor`` was chosen for.
        max_reasons: Reasons given with a review or a decline.
        fallback: What to decide where no score can be had in time, by rising amount; the last band is open.
    """

    version: str
    costs: Costs
    review_saving_minor: float | None
    decline_probability: float = 0.5
    reviews_per_day: int = 0
    max_reasons: int = 4
    fallback: tuple[Band, ...] = (Band(None, REVIEW, APPROVE),)

    def decide(self, probability: Floats, amount: NDArray[np.int64]) -> list[str]:
        """Return approve, review or decline for each transaction.

        Args:
            probability: Calibrated, shape ``(n,)``; NaN is approved.
            amount: In minor units of the base currency, shape ``(n,)``.
        """
        if len(probability) == 1:
            return [self._decide(float(probability[0]), int(amount[0]))]
        approve, decline = self._unreviewed(probability, amount)
        decided = np.where(decline < approve, DECLINE, APPROVE)
        if self.review_saving_minor is not None:
            reviewed = self.saving(probability, amount) > self.review_saving_minor
            decided = np.where(reviewed, REVIEW, decided)
        plain: list[str] = decided.tolist()
        return plain

    def _decide(self, probability: float, amount: int) -> str:
        """The same for one transaction, in a tenth of the time: numpy costs more than what it computes."""
        costs = self.costs
        approve = probability * (costs.loss_share * amount + costs.fraud_cost_minor)
        decline = (1.0 - probability) * costs.friction_cost_minor
        if not probability >= self.decline_probability:
            decline = math.inf
        limit = self.review_saving_minor
        if limit is not None and min(approve, decline) - costs.review_cost_minor > limit:
            return REVIEW
        return DECLINE if decline < approve else APPROVE

    def saving(self, probability: Floats, amount: NDArray[np.int64]) -> Floats:
        """Return what a review is expected to save over the better of approving and declining, ``(n,)``."""
        return np.minimum(*self._unreviewed(probability, amount)) - self.costs.review_cost_minor

    def fall_back(self, amount: int, may_review: Callable[[], bool] = lambda: True) -> str:
        """Return the decision where there is no score.

        Args:
            amount: In minor units of the base currency.
            may_review: Asked once, and only where the band of the amount is reviewed: whether the alert
                budget has a review left.
        """
        band = bands.find(self.fallback, amount)
        return band.beyond_budget if band.decision == REVIEW and not may_review() else band.decision

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(canonical(self.to_json())).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the policy as a plain dict with its format version."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    def _unreviewed(self, probability: Floats, amount: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """The expected costs of approving and of declining; the latter infinite where it is not allowed."""
        allowed = probability >= self.decline_probability
        decline = np.where(allowed, self.costs.decline(probability), np.inf)
        return self.costs.approve(probability, amount), decline


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
        raise FormatVersionError(
            f"the policy at {path}", raw.get("format_version"), FORMAT_VERSION, remedy=_AGAIN
        )
    nested = ("format_version", "costs", "fallback")
    fields = {name: value for name, value in raw.items() if name not in nested}
    try:
        policy = Policy(
            costs=Costs(**raw["costs"]), fallback=tuple(Band(**band) for band in raw["fallback"]), **fields
        )
        usable = _usable(policy)
    except (KeyError, TypeError) as error:
        raise BundleError(path, f"policy.json has missing or unknown fields; {_AGAIN}") from error
    if not usable:
        raise BundleError(path, f"policy.json has a number out of range or a strange fallback; {_AGAIN}")
    return policy


def _usable(policy: Policy) -> bool:
    """Whether every field is in range; raises TypeError where one is no number."""
    costs = policy.costs
    amounts: list[float] = [costs.review_cost_minor, costs.fraud_cost_minor, costs.friction_cost_minor]
    if policy.review_saving_minor is not None:
        amounts.append(policy.review_saving_minor)
    return (
        all(0 <= amount < math.inf for amount in amounts)
        and 0 <= costs.loss_share <= 1
        and 0 < policy.decline_probability <= 1
        and all(_is_decidable(band) for band in policy.fallback)
        and bands.are_whole(policy.fallback)
        and policy.max_reasons >= 0
        and all(type(number) is int for number in (policy.max_reasons, policy.reviews_per_day))
        and isinstance(policy.version, str)
    )


def _is_decidable(band: Band) -> bool:
    return (
        type(band.below_minor) in (int, type(None))
        and band.decision in DECISIONS
        and band.beyond_budget in (APPROVE, DECLINE)
    )


def prices(settings: PolicySettings) -> Costs:
    """Return the costs of the settings."""
    return Costs(
        review_cost_minor=settings.review_cost_minor,
        loss_share=settings.loss_share,
        fraud_cost_minor=settings.fraud_cost_minor,
        friction_cost_minor=settings.friction_cost_minor,
    )


def fit(probability: Floats, amount: NDArray[np.int64], *, days: int, settings: PolicySettings) -> Policy:
    """Choose the saving above which is reviewed so that the alert budget lasts on the days given.

    ``reviews_per_day`` times ``days`` transactions of these days may be reviewed: those where a review saves
    most, and none where it saves nothing. Where several tie at the edge of the budget none of them is
    reviewed: the budget is never exceeded. Truth plays no part, so days without labels will do.

    Args:
        probability: Of every transaction scored in those days, shape ``(n,)``.
        amount: In minor units of the base currency, shape ``(n,)``.
        days: Calendar days they span.
        settings: Costs, the alert budget, from where on may be declined, and the fallback.

    Raises:
        NotEnoughDataError: There are no transactions or no days.
    """
    if days < 1 or not len(probability):
        raise NotEnoughDataError("a policy needs scored transactions of at least one day: ingest more days")
    draft = Policy(
        version="",
        costs=prices(settings),
        review_saving_minor=None,
        decline_probability=settings.decline_probability,
        reviews_per_day=settings.reviews_per_day,
        max_reasons=settings.max_reasons,
        fallback=tuple(
            Band(band.below_minor, band.decision, band.beyond_budget) for band in settings.fallback
        ),
    )
    budget = settings.reviews_per_day * days
    chosen = replace(draft, review_saving_minor=_threshold(draft.saving(probability, amount), budget))
    return replace(chosen, version=chosen.digest[:8])


def _threshold(saving: Floats, budget: int) -> float | None:
    """Return the lowest threshold, 0 or more, that at most ``budget`` savings exceed; None for no budget."""
    if budget == 0:
        return None
    if budget >= len(saving):
        return 0.0
    first_beyond = np.partition(saving, -budget - 1)[-budget - 1]
    return max(0.0, float(first_beyond))
