"""Rows that a mapping's expectations refuse: out of range, not in a domain, later than now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.mapping.amounts import LARGEST
from fraud.mapping.expect import AMOUNT, Expect, Range
from fraud.mapping.faults import Faults
from fraud.mapping.text import Bools, bools
from fraud.money import EXPONENTS

_DIGITS: Final = range(max(EXPONENTS.values()) + 1)


def refuse_unexpected(columns: Mapping[str, Any], expect: Expect, now: datetime, faults: Faults) -> None:
    """Refuse the rows that break an expectation.

    Args:
        columns: Of ``schema.transactions``, as Arrow arrays of the same length.
        expect: What is expected, its columns among these.
        now: The time of the ingest, UTC.
        faults: Of these rows; the first fault of a row stands.
    """
    for name, span in expect.ranges.items():
        outside = _amount_outside(columns, span) if name == AMOUNT else _outside(columns[name], span)
        faults.add(outside, "out_of_range", name)
    for name, allowed in expect.domains.items():
        values = columns[name]
        inside = bools(pc.is_in(values, value_set=pa.array(allowed, pa.string())))
        faults.add(bools(pc.is_valid(values)) & ~inside, "not_in_domain", name)
    if expect.not_in_future_s is not None:
        latest = pa.scalar(now + timedelta(seconds=expect.not_in_future_s), schema.TIME)
        faults.add(bools(pc.greater(columns["event_time"], latest)), "in_future", "event_time")


def _outside(values: Any, span: Range) -> Bools:
    below = bools(pc.less(values, span.min)) if span.min is not None else False
    above = bools(pc.greater(values, span.max)) if span.max is not None else False
    return np.asarray(below | above, np.bool_)


def _amount_outside(columns: Mapping[str, Any], span: Range) -> Bools:
    """Compare in minor units, so that 0.1 is ten cents and not a little more."""
    place = pc.fill_null(pc.index_in(columns["currency"], pa.array(list(EXPONENTS))), 0).to_numpy()
    digits = np.array(list(EXPONENTS.values()), np.int64)[place]
    amount = np.asarray(columns["amount_minor"])
    return np.asarray(
        (amount < _bounds(span.min, ROUND_CEILING, 0)[digits])
        | (amount > _bounds(span.max, ROUND_FLOOR, LARGEST)[digits]),
        np.bool_,
    )


def _bounds(bound: float | None, rounding: str, otherwise: int) -> NDArray[np.int64]:
    """A bound in minor units by the digits of the currency; past the largest amount it is as good as that."""
    if bound is None:
        return np.full(len(_DIGITS), otherwise, np.int64)
    major = Decimal(repr(bound))
    exact = [int(major.scaleb(digits).to_integral_value(rounding)) for digits in _DIGITS]
    return np.array([min(max(each, -1), LARGEST + 1) for each in exact], np.int64)
