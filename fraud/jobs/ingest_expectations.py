"""A batch judged as a whole by what its mapping expects, before any of it is committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any, Final

import numpy as np

from fraud import schema
from fraud.errors import ExpectationError
from fraud.jobs.ingest_outcome import Outcome
from fraud.jobs.ingest_slice import Written
from fraud.mapping.census import Census
from fraud.mapping.expect import Volume
from fraud.schema import PARTITION
from fraud.storage.lake import Part

_SENTENCES: Final = {
    "max_null_share": "{column} has no value in {found:.6g} of the rows, expected at most {limit:.6g}",
    "max_duplicate_share": "{column} is repeated in {found:.6g} of the rows, expected at most {limit:.6g}",
    "freshness_s": "the newest {column} is {found:.10g} s old, expected at most {limit:.10g} s",
    "volume.min_ratio": "{column} has {found:.6g} of its weekday's usual rows, expected at least {limit:.6g}",
    "volume.max_ratio": "{column} has {found:.6g} of its weekday's usual rows, expected at most {limit:.6g}",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One expectation and what was found.

    Attributes:
        expectation: Its key in the mapping.
        column: It is about; of a volume also the day, as ``event_date=2024-06-03``.
        found: A share, a ratio or seconds; None where too little is known to judge.
        limit: As declared.
    """

    expectation: str
    column: str
    found: float | None
    limit: float

    @property
    def held(self) -> bool:
        """Whether it was not broken."""
        if self.found is None:
            return True
        at_least = self.expectation == "volume.min_ratio"
        return self.found >= self.limit if at_least else self.found <= self.limit

    def sentence(self) -> str:
        """Say what was found and what was expected."""
        return _SENTENCES[self.expectation].format(column=self.column, found=self.found, limit=self.limit)

    def report(self) -> dict[str, Any]:
        """Return it as an entry of the report."""
        return {
            "expectation": self.expectation,
            "column": self.column,
            "found": self.found,
            "limit": self.limit,
            "held": self.held,
        }


def judge(outcome: Outcome, written: Sequence[Written], version: int | None) -> list[Finding]:
    """Compare a batch with what its mapping expects of it.

    A batch without a new transaction breaks nothing: so an ingest that died between its commits is finished
    later, when its events are no longer fresh.

    Args:
        outcome: What is to be committed.
        written: What became of its slices.
        version: Of ``transactions``, in which known ids were looked for; None where there is no table.

    Raises:
        ExpectationError: Expectations are broken; it names all of them.
    """
    mapping, now = outcome.slicer.mapping, outcome.slicer.now
    census = sum((piece.census for piece in written), Census())
    if mapping.expect is None or not outcome.parts:
        return []
    findings = [
        Finding("max_null_share", column, census.nulls[column] / census.rows, limit)
        for column, limit in mapping.expect.max_null_share.items()
    ]
    if (limit := mapping.expect.max_duplicate_share) is not None:
        findings.append(Finding("max_duplicate_share", "transaction_id", _duplicate_share(written), limit))
    if (limit := mapping.expect.freshness_s) is not None:
        findings.append(Finding("freshness_s", "event_time", _age_s(census, now), limit))
    if mapping.expect.volume is not None:
        findings += _volume(outcome, mapping.expect.volume, version)
    broken = [finding.sentence() for finding in findings if not finding.held]
    if broken:
        raise ExpectationError(mapping.name, broken)
    return findings


def _duplicate_share(written: Sequence[Written]) -> float:
    # Equal neighbours after a sort: np.unique hashes, which takes many times as long.
    ties = np.sort(np.concatenate([part.ties for piece in written for part in piece.parts]))
    return int((ties[1:] == ties[:-1]).sum()) / len(ties)


def _age_s(census: Census, now: datetime) -> float:
    return now.timestamp() - (census.newest_us or 0) / 1e6


def _volume(outcome: Outcome, volume: Volume, version: int | None) -> list[Finding]:
    lake = outcome.slicer.lake
    known = [] if version is None else lake.parts(schema.TRANSACTIONS, version=version)
    ratios = volume_ratios(_rows_by_day(outcome.parts), _rows_by_day(known), volume)
    return volume_findings(ratios, volume)


def _rows_by_day(parts: Sequence[Part]) -> Counter[date]:
    rows: Counter[date] = Counter()
    for part in parts:
        rows[part.day] += part.rows
    return rows


def volume_ratios(new: Counter[date], before: Counter[date], volume: Volume) -> dict[date, float]:
    """Return by day of the batch its rows with it over the median of its weekday, where enough are known.

    Args:
        new: Rows of the batch by day.
        before: Rows of the lake by day.
        volume: How far back to look, and how many weekdays it takes.
    """
    ratios: dict[date, float] = {}
    for day, rows in new.items():
        weekdays = [before[day - timedelta(weeks=week)] for week in range(1, volume.weeks + 1)]
        known = [each for each in weekdays if each]
        if len(known) >= volume.min_weeks:
            ratios[day] = (rows + before[day]) / median(known)
    return ratios


def volume_findings(ratios: Mapping[date, float], volume: Volume) -> list[Finding]:
    """For each limit: all days that break it, or else the one that came closest.

    Args:
        ratios: As ``volume_ratios`` gives them.
        volume: The limits.
    """
    rising = sorted(ratios, key=ratios.__getitem__)
    findings: list[Finding] = []
    if volume.min_ratio is not None:
        findings += _of_days("volume.min_ratio", rising, ratios, volume.min_ratio)
    if volume.max_ratio is not None:
        findings += _of_days("volume.max_ratio", rising[::-1], ratios, volume.max_ratio)
    return findings


def _of_days(
    expectation: str, worst_first: Sequence[date], ratios: Mapping[date, float], limit: float
) -> list[Finding]:
    found = [Finding(expectation, f"{PARTITION}={day}", ratios[day], limit) for day in worst_first]
    broken = [finding for finding in found if not finding.held]
    return broken or found[:1] or [Finding(expectation, PARTITION, None, limit)]
