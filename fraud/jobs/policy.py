"""Policies from past transactions: fit one to an alert budget, and see what policies would have done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.compute as pc

from fraud.errors import NotEnoughDataError
from fraud.jobs.examples import days as days_of
from fraud.jobs.examples import examples, labels_of, micros, midnight, pin
from fraud.jobs.scored import score, traffic
from fraud.model import policy as policies
from fraud.model.backtest import grid, outcome
from fraud.model.bundle import Bundle
from fraud.model.policy import Policy
from fraud.model.traffic import Traffic
from fraud.model.truth import fraud_types
from fraud.settings import LabelSettings, PolicySettings
from fraud.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class Days:
    """Some days.

    Attributes:
        first: First day.
        last: The day after the last one.
    """

    first: date
    last: date

    @property
    def count(self) -> int:
        """How many."""
        return (self.last - self.first).days

    def report(self) -> dict[str, str]:
        """Return the first and the last day, both included, as text."""
        return {"first": self.first.isoformat(), "last": (self.last - timedelta(days=1)).isoformat()}


def calibration_days(bundle: Bundle) -> Days:
    """Return the days that a model was calibrated on.

    Raises:
        NotEnoughDataError: The bundle does not say.
    """
    try:
        first, last = map(date.fromisoformat, bundle.metadata["split"]["calibration"])
    except (KeyError, TypeError, ValueError) as error:
        raise NotEnoughDataError(
            "this model does not say which days it was calibrated on: name days with --first and --last"
        ) from error
    return Days(first, last)


def fit(
    lake: Lake, bundle: Bundle, *, days: Days, settings: PolicySettings, labels: LabelSettings
) -> tuple[Policy, dict[str, Any]]:
    """Fit a policy to the transactions of some days that were known at their end; labels play no part.

    Args:
        lake: Holds transactions and the features of the bundle's set.
        bundle: Gives the probabilities.
        days: Which.
        settings: Costs and the alert budget.
        labels: The label maturity.

    Returns:
        The policy, and of these days: ``days`` (first, last), ``transactions``, ``reviews_per_day`` and
        ``declines_per_day`` (mean, p95 each).

    Raises:
        TableNotFoundError: Transactions or features are missing.
        NotEnoughDataError: These days have no transactions, or some without features.
    """
    seen = _traffic(lake, bundle, days, as_of=midnight(days.last), labels=labels)
    policy = policies.fit(seen.probability, seen.amount, days=days.count, settings=settings)
    found = outcome(policy, seen)
    report = {"days": days.report(), "transactions": len(seen.day)}
    return policy, report | {name: found[name] for name in ("reviews_per_day", "declines_per_day")}


def simulate(
    lake: Lake,
    bundle: Bundle,
    *,
    days: Days,
    compared: Mapping[str, Policy],
    settings: PolicySettings,
    labels: LabelSettings,
    as_of: datetime | None = None,
) -> dict[str, Any]:
    """Decide some days again: by the policies given, and over a grid of thresholds.

    Args:
        lake: Holds transactions, labels and the features of the bundle's set.
        bundle: Gives the probabilities.
        days: Which.
        compared: Policies by the name to report them under; each is judged at its own costs.
        settings: Costs and the alert budget of the grid.
        labels: The label maturity.
        as_of: Truth known by then counts; None: all that the lake knows.

    Returns:
        ``days`` (first, last), ``as_of``, ``calibrated_on`` (whether the model's curve has seen some of these
        days, which flatters), ``transactions``, ``known`` (whose truth is known), ``policies`` (outcomes by
        name) and ``grid`` (outcomes by rising number of reviews); see ``backtest.outcome``.

    Raises:
        TableNotFoundError: Transactions or features are missing.
        NotEnoughDataError: These days have no transactions, some without features, or no known truth.
    """
    known_at = as_of or _newest(lake, bundle)
    seen = _traffic(lake, bundle, days, as_of=known_at, labels=labels)
    if not seen.is_known.any():
        raise NotEnoughDataError(
            f"the truth of no transaction of {days.first} to {days.last - timedelta(days=1)} was known on "
            f"{known_at:%Y-%m-%d}: take older days, or ingest labels"
        )
    return {
        "days": days.report(),
        "as_of": known_at.isoformat(),
        "calibrated_on": _overlaps(days, bundle),
        "transactions": len(seen.day),
        "known": int(np.count_nonzero(seen.is_known)),
        "policies": {name: outcome(policy, seen) for name, policy in compared.items()},
        "grid": grid(settings, seen, days=days.count),
    }


def _traffic(lake: Lake, bundle: Bundle, days: Days, *, as_of: datetime, labels: LabelSettings) -> Traffic:
    """Every scored transaction of some days that was known, with the truth as of then where it was."""
    feature_set, versions = bundle.feature_set, pin(lake, bundle.feature_set)
    rows = examples(
        lake,
        feature_set,
        first=days.first,
        last=days.last,
        as_of=as_of,
        maturity=timedelta(days=labels.label_maturity_d),
        versions=versions,
        undecided=True,
    )
    scored = score(bundle.booster, rows, feature_set.names)
    if not scored.num_rows:
        raise NotEnoughDataError(f"no transaction from {days.first} up to {days.last} was known by then")
    scores = np.asarray(scored.column("score"), np.float64)
    ids = scored.column("transaction_id").combine_chunks()
    told = labels_of(lake, versions, first=days.first, last=days.last)
    kinds = fraud_types(ids, told, as_of_us=micros(as_of))
    return traffic(scored, bundle.probabilities(scores), kinds)


def _newest(lake: Lake, bundle: Bundle) -> datetime:
    """From when on the lake knows nothing more: the end of its last day, or the newest label."""
    versions = pin(lake, bundle.feature_set)
    first, last = days_of(lake, versions)
    newest = pc.max(labels_of(lake, versions, first=first, last=last).column("label_time")).as_py()
    return max(midnight(last), newest.astimezone(UTC) if newest else midnight(last))


def _overlaps(days: Days, bundle: Bundle) -> bool:
    try:
        seen = calibration_days(bundle)
    except NotEnoughDataError:
        return False
    return days.first < seen.last and seen.first < days.last
