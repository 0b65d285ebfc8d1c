"""The service for a long time at a steady load, with models that change."""

from __future__ import annotations

import time

import numpy as np
from serve_process import Service, command, descendants, memory_bytes
from serving import Traffic, check, most, zero
from serving_rollouts import Models

_SHARE = 0.6
_SAMPLED_S = 5.0
_WARM_UP_S = 120.0
_SWAPPED_S = 60.0


def soak(service: Service, models: Models, *, seconds: float, seed: int) -> None:
    """Load the service at 60 % of its capacity, swap the model every minute, and watch its memory.

    Args:
        service: With one replica.
        models: To swap among.
        seconds: How long.
        seed: Of the transactions.
    """
    rate = _SHARE * _capacity(service, models, seed)
    memory: dict[int, list[tuple[float, float]]] = {}
    warm_up = min(_WARM_UP_S, seconds / 5)
    with Traffic(service.url, models.folder, rate=rate, seed=seed + 1, retries=0) as traffic:
        began, swaps = time.monotonic(), 0
        while (now := time.monotonic() - began) < seconds:
            for pid in descendants(service.pid) if now > warm_up else ():
                memory.setdefault(pid, []).append((now / 60, _megabytes(pid)))
            if now >= (swaps + 1) * _SWAPPED_S:
                swaps += 1
                models.serve(str(swaps % len(models.digests)))
            time.sleep(_SAMPLED_S)
        names = {pid: command(pid) for pid in memory}
        report = traffic.stop()
    samples = traffic.samples()
    first, last = (_p99_ms(samples, seconds * at, seconds * (at + 1 / 3)) for at in (0, 2 / 3))
    slopes = {pid: _slope(seen) for pid, seen in memory.items() if len(seen) > 10 and names[pid]}
    for pid, slope in sorted(slopes.items(), key=lambda each: -each[1])[:8]:
        print(f"{slope:7.3f} MB/min of {memory[pid][-1][1]:7.1f} MB: {names[pid]}")
    print(f"{rate:.0f} requests/s: {report.statuses}")
    print(f"p99 {first:.1f} ms in the first third, {last:.1f} ms in the last")
    check(
        f"{seconds:g} s at 60 % of capacity",
        swaps,
        {
            "failed requests but deliberate 429: 0": zero(report.failed - report.statuses.get("429", 0)),
            "memory grows by 1 MB/min a process at most": most(max(slopes.values()), 1.0),
            "p99 of the last third / of the first": most(last / first, 1.2),
        },
    )


def _capacity(service: Service, models: Models, seed: int) -> float:
    with Traffic(service.url, models.folder, concurrency=16, seconds=5, seed=seed, retries=0) as traffic:
        return traffic.report().requests_per_s


def _p99_ms(samples: np.ndarray, start: float, end: float) -> float:
    inside = (samples[:, 0] >= start) & (samples[:, 0] < end)
    return 1000 * float(np.percentile(samples[inside, 1], 99))


def _megabytes(pid: int) -> float:
    try:
        return memory_bytes(pid) / 1e6
    except OSError:
        return 0.0


def _slope(seen: list[tuple[float, float]]) -> float:
    minutes, megabytes = np.array(seen).T
    return float(np.polyfit(minutes, megabytes, 1)[0])
