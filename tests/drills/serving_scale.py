"""Replicas that come and go with the load."""

from __future__ import annotations

import time
from pathlib import Path

from serve_process import Service
from serving import Traffic, check, until, zero


def scale(service: Service, folder: Path, *, times: int, most: int, seed: int) -> None:
    """Load the service until all replicas are there, and let go until one is left.

    Args:
        service: Starts with one replica.
        folder: Of the service.
        times: How often.
        most: Replicas that the load needs.
        seed: Of the transactions.
    """
    failed = refused = 0
    for number in range(times):
        plan = {"retries": 0, "seed": seed + 2 * number}
        with Traffic(service.url, folder, rate=20, **plan) as calm:
            with Traffic(service.url, folder, concurrency=64, **{**plan, "seed": plan["seed"] + 1}) as busy:
                until(lambda: service.ready() == most, within_s=90)
                time.sleep(1)
                reports = [busy.stop()]
            service.await_ready(1, within_s=90)
            reports.append(calm.stop())
        too_many = sum(report.statuses.get("429", 0) for report in reports)
        refused += too_many
        failed += sum(report.failed for report in reports) - too_many
    print(f"{refused} requests were refused with 429")
    check(f"from 1 replica to {most} and back", times, {"failed but with 429: 0": zero(failed)})
