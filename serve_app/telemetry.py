"""What a process of the service counts about itself: plain numbers, cheap enough for every request.

Nothing leaves the process here; ``serve_app.export`` sends the totals on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

Key = tuple[str, ...]
"""A metric's name, then the values of its tags in their order."""

BUCKETS_S: Final = (
    *(0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02),
    *(0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""Upper edges of a stage's durations, in seconds; the last bucket, beyond them, has none."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is exported under a name.

    Attributes:
        name: Ray puts ``ray_`` before it, and ``_total`` behind that of a counter.
        kind: A counter only rises.
        tags: Their names.
        description: What it counts, and its unit.
    """

    name: str
    kind: Literal["counter", "gauge"]
    tags: Key
    description: str


DECISIONS: Final = Metric(
    "fraud_decisions", "counter", ("decision", "degraded"), "Decisions; degraded is the cause, or no."
)
REFUSALS: Final = Metric("fraud_refusals", "counter", ("code",), "Requests refused, by the code answered.")
SHADOW: Final = Metric(
    "fraud_shadow_decisions",
    "counter",
    ("agrees",),
    "The challenger's, by whether the champion decided alike.",
)
STAGE_BUCKETS: Final = Metric(
    "fraud_stage_seconds_bucket", "counter", ("stage", "le"), "Durations of a stage, up to le seconds."
)
STAGE_COUNT: Final = Metric("fraud_stage_seconds_count", "counter", ("stage",), "Durations of a stage.")
STAGE_SUM: Final = Metric("fraud_stage_seconds_sum", "counter", ("stage",), "Their sum in seconds.")
MODEL: Final = Metric(
    "fraud_model", "gauge", ("model_version",), "1 for the version that serves, 0 for the one before."
)

METRICS: Final = (
    *(DECISIONS, REFUSALS, SHADOW, STAGE_BUCKETS, STAGE_COUNT, STAGE_SUM, MODEL),
    Metric("fraud_unread_attributes", "counter", (), "Attributes that came and that no model reads."),
    Metric("fraud_models_refused", "counter", (), "Models that did not verify and so do not serve."),
    Metric("fraud_records_shipped", "counter", (), "Journal records moved into the lake."),
    Metric("fraud_ship_failures", "counter", (), "Attempts to ship that failed."),
    Metric(
        "fraud_state_age_seconds", "gauge", (), "Since the lake's facts in the state were all there were."
    ),
    Metric("fraud_alias_age_seconds", "gauge", (), "Since the registry last said what the alias points at."),
    Metric("fraud_journal_queue_records", "gauge", (), "Records that wait for the disk."),
    Metric("fraud_unshipped_bytes", "gauge", (), "Of journals that the lake does not hold yet."),
    Metric("fraud_disk_free_bytes", "gauge", (), "On the disk of journal and state."),
    Metric("fraud_reviews_given", "gauge", (), "Reviews of this UTC day, by all replicas of the node."),
    Metric("fraud_shadow_queue", "gauge", (), "Transactions that wait for the challenger."),
)
"""Everything there is; docs/operations.md says what to watch."""

_PLAIN: Final = {metric.name.removeprefix("fraud_"): (metric.name,) for metric in METRICS if not metric.tags}


class _Stage:
    """How long a stage took: counts by bucket, and the sum."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.seconds = 0.0


class Telemetry:
    """Totals since the process started; calls from several threads at once may miss a count."""

    def __init__(self) -> None:
        self._counts: defaultdict[Key, float] = defaultdict(float)
        self._gauges: dict[Key, float] = {}
        self._stages: defaultdict[str, _Stage] = defaultdict(_Stage)
        self._told: dict[Key, float] = {}

    def decided(self, decision: str, *, degraded: str | None) -> None:
        """Count a decision; ``degraded`` is why there was no score, None where there was one."""
        self._counts[DECISIONS.name, decision, degraded or "no"] += 1

    def refused(self, code: str) -> None:
        """Count a request that was refused."""
        self._counts[REFUSALS.name, code] += 1

    def shadowed(self, *, agrees: bool) -> None:
        """Count a decision of the challenger."""
        self._counts[SHADOW.name, "yes" if agrees else "no"] += 1

    def unread(self, attributes: int) -> None:
        """Count attributes that no model reads."""
        if attributes:
            self._counts[_PLAIN["unread_attributes"]] += attributes

    def stage(self, name: str, seconds: float) -> None:
        """Note how long a stage of a request took."""
        stage = self._stages[name]
        stage.counts[bisect_left(BUCKETS_S, seconds)] += 1
        stage.seconds += seconds

    def swapped(self, version: str) -> None:
        """Note which version serves from now on."""
        for key in [key for key in self._gauges if key[0] == MODEL.name]:
            if self._gauges[key]:
                self._gauges[key] = 0
            else:
                del self._gauges[key]  # it was exported as 0, and Ray keeps that
        self._gauges[MODEL.name, version] = 1

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a counter without tags, named without ``fraud_``; KeyError for one that METRICS lacks."""
        self._counts[_PLAIN[name]] += amount

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge without tags, named without ``fraud_``; KeyError for one that METRICS lacks."""
        self._gauges[_PLAIN[name]] = value

    def gauges(self) -> dict[Key, float]:
        """Return what is so now."""
        return dict(self._gauges)

    def rises(self) -> dict[Key, float]:
        """Return what counters rose by since the last call."""
        totals, told = self.totals(), self._told
        self._told = totals
        return {key: total - told.get(key, 0) for key, total in totals.items() if total > told.get(key, 0)}

    def totals(self) -> dict[Key, float]:
        """Return the counters, the stages' among them: a bucket counts all durations up to its edge."""
        return {**self._counts, **dict(self._staged())}

    def _staged(self) -> Iterator[tuple[Key, float]]:
        for name, stage in list(self._stages.items()):
            upto = list(accumulate(stage.counts))
            for edge, total in zip((*BUCKETS_S, "+Inf"), upto, strict=True):
                yield (STAGE_BUCKETS.name, name, str(edge)), total
            yield (STAGE_COUNT.name, name), upto[-1]
            yield (STAGE_SUM.name, name), stage.seconds
