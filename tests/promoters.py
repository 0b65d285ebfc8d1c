"""Processes that register and promote at once.

    python -m tests.promoters URI ARTIFACTS LAKE MODEL BUNDLE PROCESSES TIMES

Everything is imported before the processes part, so that they start at the same moment.
"""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

from fraud.model.cost import Costs
from fraud.model.policy import Policy
from fraud.storage.lake import Lake
from fraud.storage.registry import Registry
from fraud.storage.tracking import Tracking

POLICY = Policy("1", Costs(200, 1.0, 0, 5000), 0.0)


def promote(number: int, registry: Registry, tracking: Tracking, bundle: Path, times: int) -> None:
    for turn in range(times):
        with tracking.run(f"promoter {number}") as run:
            version = registry.register(run.id, bundle, POLICY)
        registry.set_alias("champion", version, f"promoter {number}", f"turn {turn}")


def main(*arguments: str) -> int:
    uri, artifacts, lake, model, bundle, processes, times = arguments
    registry, tracking = Registry(uri, model, Lake(lake)), Tracking(uri, artifacts, "promoters")
    given = (registry, tracking, Path(bundle), int(times))
    context = multiprocessing.get_context("fork")
    promoters = [context.Process(target=promote, args=(number, *given)) for number in range(int(processes))]
    for promoter in promoters:
        promoter.start()
    for promoter in promoters:
        promoter.join()
    return sum(promoter.exitcode != 0 for promoter in promoters)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
