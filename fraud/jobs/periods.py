"""Which days train a model and which calibrate it: in time order, each with its truth known in time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from fraud.errors import NotEnoughDataError
from fraud.jobs.examples import midnight
from fraud.settings import LabelSettings, TrainSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Period:
    """Half-open days, and when their truth was asked for.

    Attributes:
        first: First day.
        last: The day after the last one.
        as_of: Only labels known by then count.
    """

    first: date
    last: date
    as_of: datetime

    @property
    def days(self) -> int:
        """How many days."""
        return (self.last - self.first).days


@dataclass(frozen=True, slots=True)
class Periods:
    """The days of one training.

    Attributes:
        train: Their truth is known when calibration begins.
        calibration: Their truth is known at the end.
        shrunk: Whether the data hold fewer days than were asked for.
    """

    train: Period
    calibration: Period
    shrunk: bool


def periods(
    first: date, after_last: date, *, train: TrainSettings, labels: LabelSettings, end: date | None
) -> Periods:
    """Cut the newest days with data into training, a gap for labels, calibration, a gap for labels.

    Args:
        first: First day with data.
        after_last: The day after the last one.
        train: How many days of each.
        labels: The length of the gaps.
        end: Facts known by the start of this day are used; None: of the day after the last one.

    Raises:
        NotEnoughDataError: There are not even two days of training and one of calibration.
    """
    gap = timedelta(days=labels.label_maturity_d)
    known = end or after_last
    calibration_last = min(known - gap, after_last)
    usable = (calibration_last - first - gap).days
    train_d, calibration_d = _fit(usable, train.train_d, train.calibration_d)
    if train_d < 2:
        raise NotEnoughDataError(
            f"training needs 2 days, calibration 1 and the labels of each {labels.label_maturity_d} more: "
            f"{2 * labels.label_maturity_d + 3} days before {known}. The lake has "
            f"{max((min(known, after_last) - first).days, 0)} from {first} on: "
            "ingest more days, or lower labels.label_maturity_d"
        )
    calibration_first = calibration_last - timedelta(days=calibration_d)
    train_last = calibration_first - gap
    return Periods(
        Period(train_last - timedelta(days=train_d), train_last, midnight(calibration_first)),
        Period(calibration_first, calibration_last, midnight(known)),
        shrunk=(train_d, calibration_d) != (train.train_d, train.calibration_d),
    )


def _fit(usable: int, train_d: int, calibration_d: int) -> tuple[int, int]:
    """Return days of training and calibration, both shortened in proportion where they do not fit."""
    if usable >= train_d + calibration_d:
        return train_d, calibration_d
    shorter = max(1, usable * calibration_d // (train_d + calibration_d))
    logger.warning(
        "fewer days than asked for",
        extra={"usable_d": usable, "train_d": train_d, "calibration_d": calibration_d},
    )
    return usable - shorter, shorter
