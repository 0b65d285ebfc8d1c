"""How far a week's values have moved from those a model was trained on: the population stability index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fraud.model.histogram import Histogram
from fraud.monitor.week import is_complete

SHARE_FLOOR: Final = 1e-4
"""An empty bin counts as one row in ten thousand, so that its logarithm is finite. A bin that was empty in
training then adds 0.1 once 2 % of a week lies in it."""

JUDGED_ROWS: Final = 200
"""A week of fewer rows is not judged. Without any drift, rows x PSI follows a chi-squared distribution with
one degree of freedom less than there are bins (Yurdakul and Naranjo 2020): for 21 bins and 200 rows chance
alone exceeds 0.23 once in a thousand times."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One week of one feature (or ``score``), a row of ``monitor_drift``."""

    week: date
    name: str
    psi: float
    rows: int
    missing_share: float

    def is_drifted(self, threshold: float) -> bool:
        """Whether the index is above the threshold on enough rows to say so."""
        return self.rows >= JUDGED_ROWS and self.psi > threshold


def psi(reference: Histogram, current: Histogram) -> float:
    """Return the population stability index, the sum over bins of (c - r) ln(c / r).

    r and c are a bin's shares of the reference and the current rows, raised to ``SHARE_FLOOR``; missing
    values are one bin more. 0 is the same distribution; by custom 0.1 is worth a look and 0.25 a shift.

    Source: Siddiqi 2006, Credit Risk Scorecards, system stability report.

    Raises:
        ValueError: The edges differ, or one of them counts no rows.
    """
    if reference.edges != current.edges:
        raise ValueError("a population stability index needs both histograms on the same edges")
    r, c = _shares(reference), _shares(current)
    return float(np.sum((c - r) * np.log(c / r)))


def _shares(histogram: Histogram) -> NDArray[np.float64]:
    if histogram.rows == 0:
        raise ValueError("a histogram without rows has no shares")
    counts = np.array([*histogram.counts, histogram.missing], np.float64)
    return np.maximum(counts / histogram.rows, SHARE_FLOOR)


def compare(week: date, name: str, reference: Histogram, current: Histogram) -> Drift:
    """Return the drift of one week; errors as for ``psi``."""
    rows = current.rows
    return Drift(week, name, psi(reference, current), rows, current.missing / rows)


def judged_week(drifts: Sequence[Drift], as_of: datetime) -> date | None:
    """Return the newest week that is over and has ``JUDGED_ROWS``; None where there is none."""
    weeks = {row.week for row in drifts if row.rows >= JUDGED_ROWS and is_complete(row.week, as_of)}
    return max(weeks, default=None)
