"""The gate: whether a model may become champion, measured beside the one that is, on the same rows.

The rows are mature and later than anything either model was trained or calibrated on; nothing in here knows
where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fraud.model.bootstrap import average_precision_differences
from fraud.model.cost import Costs
from fraud.model.metrics import average_precision
from fraud.model.policy import APPROVE, DECLINE, REVIEW, Policy
from fraud.model.reliability import reliability
from fraud.settings import PromotionSettings

LOWER: Final = 0.025
"""The lower end of the interval that holds 95 % of the differences."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        value: What was found; None where it could not be measured.
        limit: What it is held to, None where there is no number.
        passed: Whether it holds.
        says: The sentence about it.
    """

    name: str
    value: float | None
    limit: float | None
    passed: bool
    says: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks; a model passes that fails none."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the model may become champion."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> list[str]:
        """The sentences of the checks that fail."""
        return [check.says for check in self.checks if not check.passed]

    def text(self) -> str:
        """Return the checks as a table in Markdown."""
        head = ["| check | | value | limit | |", "|---|---|---|---|---|"]
        return "\n".join([*head, *(_line(check) for check in self.checks)])

    def to_json(self) -> dict[str, Any]:
        """Return ``passed``, ``checks`` and ``text``."""
        checks = [{name: getattr(check, name) for name in Check.__slots__} for check in self.checks]
        return {"passed": self.passed, "checks": checks, "text": self.text()}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Transactions whose truth is known.

    Attributes:
        is_fraud: Truth, shape ``(n,)``.
        amount: In minor units of the base currency, shape ``(n,)``.
        card: Numbers from 0, without a gap; a row without a card has one of its own, shape ``(n,)``.
    """

    is_fraud: NDArray[np.bool_]
    amount: NDArray[np.int64]
    card: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """What a model makes of the rows.

    Attributes:
        score: Shape ``(n,)``.
        probability: Calibrated, shape ``(n,)``.
        policy: Its own.
    """

    score: Floats
    probability: Floats
    policy: Policy


def enough(rows: int, frauds: int, settings: PromotionSettings) -> Check:
    """Check that there is something to measure on."""
    passed = rows >= settings.min_rows and frauds >= settings.min_frauds
    asked = f"{settings.min_rows} with {settings.min_frauds} are asked for"
    says = f"{rows} later transactions of known truth hold {frauds} frauds, {asked}"
    return Check("enough_rows", frauds, settings.min_frauds, passed, says)


def judge(
    rows: Rows,
    challenger: Contender,
    champion: Contender | None,
    *,
    costs: Costs,
    settings: PromotionSettings,
) -> list[Check]:
    """Compare a challenger with the champion; a first champion is held to absolute figures.

    Args:
        rows: Frauds and others.
        challenger: Who wants to be champion.
        champion: Who is, on the same rows; None where there is none.
        costs: Of decisions.
        settings: The limits.
    """
    if champion is None:
        compared = [_first(rows, challenger, settings)]
    else:
        compared = [
            _better(rows, challenger, champion, settings),
            _cheaper(rows, challenger, champion, costs, settings),
        ]
    return [*compared, _calibrated(rows, challenger, settings)]


def quick(latency_ms: float, settings: PromotionSettings) -> Check:
    """Check the median time of scoring one row."""
    limit = settings.max_latency_ms
    says = f"one transaction takes {latency_ms:.2f} ms, at most {limit:g} are allowed"
    return Check("latency_ms", latency_ms, limit, latency_ms <= limit, says)


def cost(contender: Contender, rows: Rows, costs: Costs) -> float:
    """Return what a model's decisions cost in minor units, at these prices whatever its policy's are."""
    decided = np.array(contender.policy.decide(contender.probability, rows.amount), np.str_)
    missed = costs.loss(rows.amount)[rows.is_fraud & (decided == APPROVE)].sum()
    reviews = np.count_nonzero(decided == REVIEW)
    refused = np.count_nonzero(~rows.is_fraud & (decided == DECLINE))
    return float(missed + reviews * costs.review_cost_minor + refused * costs.friction_cost_minor)


def _first(rows: Rows, challenger: Contender, settings: PromotionSettings) -> Check:
    found = average_precision(rows.is_fraud, challenger.score)
    share = float(np.mean(rows.is_fraud))
    # Where frauds are common, many times their share is more than anybody can reach.
    limit = min(settings.min_precision_lift * share, (1 + share) / 2)
    says = f"a first champion's average precision is {found:.4f}, it has to be {limit:.4f} or more"
    return Check("average_precision", found, limit, found >= limit, says)


def _better(rows: Rows, challenger: Contender, champion: Contender, settings: PromotionSettings) -> Check:
    differences = average_precision_differences(
        rows.is_fraud, (champion.score, challenger.score), rows.card, resamples=settings.resamples
    )
    lower = float(np.nanquantile(differences, LOWER))
    found = [average_precision(rows.is_fraud, each.score) for each in (challenger, champion)]
    says = (
        f"average precision is {found[0]:.4f}, the champion's {found[1]:.4f}: the difference may be as low "
        f"as {lower:+.4f}, {-settings.max_precision_loss:+g} is allowed"
    )
    passed = lower >= -settings.max_precision_loss
    return Check("average_precision_difference", lower, -settings.max_precision_loss, passed, says)


def _cheaper(
    rows: Rows, challenger: Contender, champion: Contender, costs: Costs, settings: PromotionSettings
) -> Check:
    # A share of the champion's own cost would allow nothing to one that is nearly right.
    more = settings.max_cost_increase * float(costs.loss(rows.amount)[rows.is_fraud].sum())
    found, limit = cost(challenger, rows, costs), cost(champion, rows, costs) + more
    says = f"its decisions cost {found:,.0f} minor units, at most {limit:,.0f} are allowed"
    return Check("cost_minor", found, limit, found <= limit, says)


def _calibrated(rows: Rows, challenger: Contender, settings: PromotionSettings) -> Check:
    found = reliability(challenger.probability, rows.is_fraud).expected_calibration_error
    limit = settings.max_calibration_error * float(np.mean(rows.is_fraud))
    says = f"its probabilities are off by {found:.5f} on average, at most {limit:.5f} is allowed"
    return Check("calibration_error", found, limit, found <= limit, says)


def _line(check: Check) -> str:
    numbers = ("" if number is None else f"{number:.6g}" for number in (check.value, check.limit))
    cells = (check.name, "passed" if check.passed else "**failed**", *numbers, check.says)
    return f"| {' | '.join(cells)} |"
