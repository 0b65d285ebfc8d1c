"""A search in MLflow: one run, and one below it for each trial, however often the search was killed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuning.journal import Finished

if TYPE_CHECKING:
    from fraud.storage.tracking import Tracking


def track(tracking: Tracking, parent: str, trials: Sequence[Finished], *, search: str, metric: str) -> None:
    """Write the run of every trial that has none; one that a kill left half written is gone on with.

    Args:
        tracking: Where runs go.
        parent: Id of the search's own run.
        trials: In the order they ended, which is that of their numbers.
        search: The search's name, see ``Journal``.
        metric: What the trials' values are.
    """
    written = {child["key"] for child in tracking.children(parent) if child["status"] == "FINISHED"}
    for number, trial in enumerate(trials, start=1):
        key = f"{search}-{number}"
        if key in written:
            continue
        tags = {"job": "trial"}
        with tracking.run(f"trial-{number:03}", parent=parent, tags=tags, key=key) as child:
            child.params(trial.params)
            child.metrics(
                {
                    metric: trial.value,
                    "rounds": trial.rounds,
                    "trained_rounds": trial.trained_rounds,
                    "seconds": trial.seconds,
                }
            )
