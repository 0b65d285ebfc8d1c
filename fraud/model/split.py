"""Time-ordered folds: train, wait until the labels are known, test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from fraud.errors import NotEnoughDataError


@dataclass(frozen=True, slots=True)
class Fold:
    """Days to train on and later days to test on, both half-open: first day, first day after."""

    name: str
    train: tuple[date, date]
    test: tuple[date, date]


def fold(train_first: date, *, train_d: int, gap_d: int, test_d: int) -> Fold:
    """Return the fold that trains from a day on, and tests ``gap_d`` days after its last training day.

    It is named after its first test day.
    """
    train_last = train_first + timedelta(days=train_d)
    test_first = train_last + timedelta(days=gap_d)
    return Fold(
        test_first.isoformat(), (train_first, train_last), (test_first, test_first + timedelta(days=test_d))
    )


def with_train_days(one: Fold, train_d: int) -> Fold:
    """Return the fold with another number of training days; they end where they ended."""
    last = one.train[1]
    return replace(one, train=(last - timedelta(days=train_d), last))


def prequential(
    first: date, last: date, *, folds: int, train_d: int, gap_d: int, test_d: int
) -> tuple[Fold, ...]:
    """Cut folds whose test days touch one another and end with the newest day, the newest fold first.

    Args:
        first: First day with data.
        last: The day after the last one whose truth is known.
        folds: How many.
        train_d: Days of training in a fold.
        gap_d: Days between training and testing: the label maturity.
        test_d: Days of testing in a fold.

    Raises:
        NotEnoughDataError: The days do not reach for that many folds.
    """
    span = timedelta(days=train_d + gap_d + test_d)
    starts = [last - span - timedelta(days=number * test_d) for number in range(folds)]
    if starts[-1] < first:
        needed = (last - starts[-1]).days
        raise NotEnoughDataError(
            f"{folds} folds of {train_d} training days, {gap_d} days for labels and {test_d} test days need "
            f"{needed} days, {_span(first, last)} with known truth are {max((last - first).days, 0)}: ingest "
            "more days, or lower evaluate.folds, evaluate.train_d or evaluate.test_d"
        )
    return tuple(fold(start, train_d=train_d, gap_d=gap_d, test_d=test_d) for start in starts)


def require_days(name: str, folds: Sequence[Fold], *, first: date, last: date) -> None:
    """Check that the data reach from the first training day to the last test day.

    Args:
        name: Of the protocol, for the message.
        folds: What is going to be evaluated.
        first: First day with data.
        last: The day after the last day with data.

    Raises:
        NotEnoughDataError: They do not.
    """
    needed = (min(each.train[0] for each in folds), max(each.test[1] for each in folds))
    if first > needed[0] or last < needed[1]:
        raise NotEnoughDataError(
            f"{name} needs transactions of {_span(*needed)}, the lake has {_span(first, last)}: "
            "ingest the missing days, lower evaluate.train_d, or evaluate without a protocol"
        )


def _span(first: date, last: date) -> str:
    return f"{first.isoformat()} to {(last - timedelta(days=1)).isoformat()}"
