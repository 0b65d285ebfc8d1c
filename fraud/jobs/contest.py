"""Which days two models can be compared on, and the rows of these days, scored by both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.errors import NotEnoughDataError
from fraud.jobs.examples import CARD, days, examples, labels_of, midnight, pin
from fraud.jobs.scored import score
from fraud.model.bundle import Bundle
from fraud.model.gate import Contender, Rows
from fraud.model.policy import Policy
from fraud.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class Days:
    """Half-open days whose truth is known, later than what any of the models has seen.

    Attributes:
        first: First day.
        last: The day after the last one.
        as_of: Labels known by then count.
    """

    first: date
    last: date
    as_of: datetime


def later_days(
    lake: Lake,
    bundles: Sequence[Bundle],
    *,
    maturity_d: int,
    most: int,
    first: date | None,
    last: date | None,
) -> Days:
    """Return the newest days that are mature and that none of the models was trained or calibrated on.

    Args:
        lake: The lake.
        bundles: The models.
        maturity_d: After so many days a transaction without a label is genuine.
        most: So many days, where the first one is not given.
        first: First day asked for.
        last: The day after the last one asked for.

    Raises:
        NotEnoughDataError: There are no such days, or those asked for are not such days.
    """
    versions = pin(lake, bundles[0].feature_set)
    begin, end = days(lake, versions)
    told = pc.max(labels_of(lake, versions, first=begin, last=end).column("label_time")).as_py()
    as_of = max(midnight(end), told or midnight(end))
    mature = min(end, (as_of - timedelta(days=maturity_d)).date())
    seen = max(_seen(bundle) for bundle in bundles)
    until = last or mature
    since = first or max(seen, until - timedelta(days=most))
    if since < seen or since >= until:
        raise NotEnoughDataError(
            f"a model was trained or calibrated on days before {seen}, the truth is known of days before "
            f"{mature}, and only days between can be compared on: it may be challenger until there are some"
        )
    if until > mature:
        raise NotEnoughDataError(f"the truth of days from {mature} on is not known yet: take earlier ones")
    return Days(since, until, as_of)


def contest(
    lake: Lake, models: Sequence[tuple[Bundle, Policy]], period: Days, *, maturity_d: int
) -> tuple[Rows, list[Contender]]:
    """Score the same rows with every model.

    Args:
        lake: Featurized for all of them.
        models: In the order of the result.
        period: From ``later_days``.
        maturity_d: As there.

    Raises:
        NotEnoughDataError: The days have no rows, or rows lack the features of a model.
    """
    pins = [pin(lake, bundle.feature_set) for bundle, _ in models]
    oldest = min(versions[schema.TRANSACTIONS] for versions in pins)
    tables = []
    for (bundle, _), versions in zip(models, pins, strict=True):
        rows = examples(
            lake,
            bundle.feature_set,
            first=period.first,
            last=period.last,
            as_of=period.as_of,
            maturity=timedelta(days=maturity_d),
            # One state of the lake for all; features of one set may be ahead of another's.
            versions={**versions, schema.TRANSACTIONS: oldest},
        )
        scored = score(bundle.booster, rows, bundle.feature_set.names)
        tables.append(scored.sort_by([("event_time", "ascending"), ("transaction_id", "ascending")]))
    if any(table.column("transaction_id") != tables[0].column("transaction_id") for table in tables):
        raise NotEnoughDataError("the lake changed meanwhile: promote again")
    return _rows(tables[0]), [_contender(table, *model) for table, model in zip(tables, models, strict=True)]


def _seen(bundle: Bundle) -> date:
    """The day after the last one that made a model."""
    split = bundle.metadata.get("split", {})
    try:
        return max(date.fromisoformat(split[name][1]) for name in ("train", "calibration"))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise NotEnoughDataError(
            f"the model at {bundle.path} does not say on which days it was trained and calibrated, so no "
            "later ones can be named: train it with this release"
        ) from error


def _rows(scored: pa.Table) -> Rows:
    return Rows(
        np.asarray(scored.column("is_fraud").to_numpy(), np.bool_),
        np.asarray(scored.column("amount_base_minor").to_numpy(), np.int64),
        _card_numbers(scored.column(CARD).combine_chunks()),
    )


def _card_numbers(card: pa.Array) -> NDArray[np.int64]:
    encoded = card.dictionary_encode()
    number = np.asarray(pc.fill_null(encoded.indices, -1), np.int64)
    alone = np.flatnonzero(number < 0)
    number[alone] = len(encoded.dictionary) + np.arange(len(alone))
    return number


def _contender(scored: pa.Table, bundle: Bundle, policy: Policy) -> Contender:
    scores = np.asarray(scored.column("score").to_numpy(), np.float64)
    return Contender(scores, bundle.probabilities(scores), policy)
