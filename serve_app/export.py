"""From a process's own counts to Ray's metrics, once a second."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from ray.serve import metrics as ray_metrics

from serve_app.telemetry import METRICS, Key, Metric, Telemetry

_EVERY_S: Final = 1.0


class Export:
    """Sends what counters rose by, and gauges as they are; must be made inside an actor.

    A metric of Ray costs microseconds and a lock each time, so it is told of sums and not of requests.
    """

    def __init__(self, telemetry: Telemetry, look: Callable[[], None] = lambda: None) -> None:
        """Register the metrics with Ray.

        Args:
            telemetry: What to send.
            look: Called before, to set gauges that somebody has to look at.
        """
        self._telemetry = telemetry
        self._look = look
        self._counters = {each.name: (each, _counter(each)) for each in METRICS if each.kind == "counter"}
        self._gauges = {each.name: (each, _gauge(each)) for each in METRICS if each.kind == "gauge"}

    async def run(self) -> None:
        """Send for ever."""
        while True:
            await asyncio.sleep(_EVERY_S)
            for _ in self._push():
                await asyncio.sleep(0)  # all at once would hold requests up for milliseconds

    def push(self) -> None:
        """Send what was counted since the last time, and the gauges."""
        deque(self._push(), maxlen=0)

    def _push(self) -> Iterator[None]:
        """Send one number after the other."""
        self._look()
        for key, rise in self._telemetry.rises().items():
            metric, counter = self._counters[key[0]]
            counter.inc(rise, _tags(metric, key))
            yield
        for key, value in self._telemetry.gauges().items():
            metric, gauge = self._gauges[key[0]]
            gauge.set(value, _tags(metric, key))
            yield


def _counter(metric: Metric) -> ray_metrics.Counter:
    return ray_metrics.Counter(metric.name, metric.description, metric.tags)


def _gauge(metric: Metric) -> ray_metrics.Gauge:
    return ray_metrics.Gauge(metric.name, metric.description, metric.tags)


def _tags(metric: Metric, key: Key) -> dict[str, str]:
    return dict(zip(metric.tags, key[1:], strict=True))
