"""The exchange by entity: narrow rows travel to their entity's partition, features travel back.

These are plain named Ray tasks, bounded by the object store, which spills; Ray Data puts the features beside
the rows and writes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from threading import Thread
from typing import Any, Final

import numpy as np
import ray
import ray.data
from numpy.typing import NDArray

from fraud.features.batch import EntityFrauds
from fraud.features.kinds.window import Window
from fraud.jobs import feature_steps as steps
from fraud.jobs.feature_steps import FeatureFile, Group, PartitionedFrauds, Piece, Slice, Work
from fraud.storage.lake import Part

logger = logging.getLogger(__name__)

_PART: Final = ("path", "rows", "size", "event_date")


def run(work: Work, frauds: PartitionedFrauds) -> list[FeatureFile]:
    """Compute with Ray tasks and write with Ray Data; return the features files."""
    asking = [number for number, group in enumerate(work.groups) if group.asked]
    pieces = _exchange(ray.put(work), work, frauds, asking)
    # References inside the writer are not resolved by Ray Data, so a task fetches its own pieces only.
    written = ray.data.range(len(asking), override_num_blocks=len(asking)).map_batches(
        _Writer(work, asking, pieces), batch_size=1, batch_format="numpy", num_cpus=1
    )
    return [
        FeatureFile(Part(**{name: row[name] for name in _PART}), row["of"], row["incomplete"])
        for row in written.take_all()
    ]


def _exchange(
    shared: ray.ObjectRef[Work], work: Work, frauds: PartitionedFrauds, asking: Sequence[int]
) -> list[list[tuple[str, ray.ObjectRef[Piece]]]]:
    """Start the exchange; return per asking group the references to its window features."""
    columns = work.columns
    if not columns:
        return [[] for _ in asking]
    sent = [
        _several(_cut.options(num_returns=len(columns), name="featurize: cut").remote(shared, number))
        for number in range(len(work.groups))
    ]
    _follow("cut", [slices[0] for slices in sent])
    pieces: list[list[tuple[str, ray.ObjectRef[Piece]]]] = [[] for _ in asking]
    for place, (key, partition) in enumerate(columns):
        task = _compute.options(num_returns=len(asking), name=f"featurize: windows of {key}")
        back = task.remote(
            work.feature_set.keys[key], frauds[key][partition], asking, *(slices[place] for slices in sent)
        )
        for own, piece in zip(pieces, _several(back), strict=True):
            own.append((key, piece))
    _follow("windows", [piece for _, piece in pieces[0]])
    return pieces


def _several(returned: Any) -> list[Any]:
    """A task of one return gives its reference, one of several gives a list."""
    return returned if isinstance(returned, list) else [returned]


def _follow(stage: str, tasks: Sequence[ray.ObjectRef[Any]]) -> None:
    """Log how far a stage is, in a thread: the next stage waits for nothing but its own arguments."""

    def follow() -> None:
        waiting, reported = list(tasks), 0
        while waiting:
            _, waiting = ray.wait(waiting, num_returns=1, fetch_local=False)
            ready = len(tasks) - len(waiting)
            if ready * 10 // len(tasks) > reported:
                reported = ready * 10 // len(tasks)
                logger.info("featurize", extra={"stage": stage, "done": ready, "of": len(tasks)})

    Thread(target=follow, name=f"featurize-{stage}", daemon=True).start()


@ray.remote(num_cpus=1)
def _cut(work: Work, number: int) -> Any:
    return _returns(steps.cut(work, work.groups[number]))


@ray.remote(num_cpus=1)
def _compute(windows: Sequence[Window], frauds: EntityFrauds, asking: Sequence[int], *slices: Slice) -> Any:
    pieces = steps.compute(windows, frauds, slices)
    return _returns([pieces[number] for number in asking])


def _returns(values: list[Any]) -> Any:
    """A task of one return gives the value itself, one of several gives a list."""
    return values[0] if len(values) == 1 else values


class _Writer:
    """Writes the features files of one group in a Ray Data task."""

    def __init__(
        self, work: Work, asking: Sequence[int], pieces: list[list[tuple[str, ray.ObjectRef[Piece]]]]
    ) -> None:
        self.work = work
        self.asking = asking
        self.pieces = pieces

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, list[Any]]:
        number = int(batch["id"][0])
        written = steps.write(self.work, self._group(number), dict(self._pieces(number)))
        columns: dict[str, list[Any]] = {
            name: [getattr(file.part, name) for file in written] for name in _PART
        }
        return columns | {"of": [file.of for file in written], "incomplete": [f.incomplete for f in written]}

    def _group(self, number: int) -> Group:
        return self.work.groups[self.asking[number]]

    def _pieces(self, number: int) -> Iterator[tuple[str, list[Piece]]]:
        given = self.pieces[number]
        for key in self.work.feature_set.keys:
            yield key, ray.get([piece for of, piece in given if of == key])
