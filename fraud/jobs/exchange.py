"""The exchange by entity: narrow rows travel to their entity's partition, features travel back.

These are plain named Ray tasks, bounded by the object store, which spills; Ray Data puts the features beside
the rows and writes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Thread
from typing import Any, Final

import numpy as np
import ray
import ray.data
from numpy.typing import NDArray

from fraud.features.batch import EntityFrauds
from fraud.features.kinds.window import Window
from fraud.jobs import feature_steps as steps
from fraud.jobs.feature_steps import FeatureFile, PartitionedFrauds, Piece, Slice, Work
from fraud.jobs.waves import Wave
from fraud.storage.lake import Part

logger = logging.getLogger(__name__)

_Pieces = dict[int, list[tuple[str, "ray.ObjectRef[Piece]"]]]
"""By the number of the group: its window features, each with the key of its entity."""

_PART: Final = ("path", "rows", "size", "event_date")


def run(work: Work, frauds: PartitionedFrauds, waves: Sequence[Wave]) -> list[FeatureFile]:
    """Compute with Ray tasks and write with Ray Data; return the features files.

    A wave is written before the next one is begun: two of them at a time would spill.
    """
    exchange = _Exchange(work, frauds)
    return [file for wave in waves for file in _write(work, exchange.begin(wave))]


class _Exchange:
    """Tasks that are under way."""

    def __init__(self, work: Work, frauds: PartitionedFrauds) -> None:
        self._work = work
        self._frauds = frauds
        self._shared = ray.put(work)
        self._sent: dict[int, list[ray.ObjectRef[Slice]]] = {}

    def begin(self, wave: Wave) -> _Pieces:
        """Start computing a wave."""
        asking, columns = wave.asked(self._work.groups), self._work.columns
        if not columns:
            return {number: [] for number in asking}
        self._sent = {number: slices for number, slices in self._sent.items() if number >= wave.first}
        fresh = [number for number in range(wave.first, wave.end) if number not in self._sent]
        self._sent |= {number: self._cut(number) for number in fresh}
        _follow("cut", [self._sent[number][0] for number in fresh])
        pieces: _Pieces = {number: [] for number in asking}
        for place, (key, partition) in enumerate(columns):
            task = _compute.options(num_returns=len(asking), name=f"featurize: windows of {key}")
            windows, frauds = self._work.feature_set.keys[key], self._frauds[key][partition]
            slices = [self._sent[number][place] for number in range(wave.first, wave.end)]
            back = _several(task.remote(windows, frauds, wave, asking, *slices))
            for number, piece in zip(asking, back, strict=True):
                pieces[number].append((key, piece))
        _follow("windows", [piece for _, piece in pieces[asking[0]]])
        return pieces

    def _cut(self, number: int) -> list[ray.ObjectRef[Slice]]:
        task = _cut.options(num_returns=len(self._work.columns), name="featurize: cut")
        return _several(task.remote(self._shared, number))


def _write(work: Work, pieces: _Pieces) -> list[FeatureFile]:
    # A writer that waits for its pieces would hold a worker, and Ray would start another one beside it.
    waited_for = [piece for given in pieces.values() for _, piece in given]
    if waited_for:
        ray.wait(waited_for, num_returns=len(waited_for), fetch_local=False)
    context = ray.data.DataContext.get_current().copy()
    # There is one operator: what Ray Data would keep for others would leave one CPU in two idle.
    context.op_resource_reservation_enabled = False
    with ray.data.DataContext.current(context):
        # References inside the writer are not resolved by Ray Data, so a task fetches its own pieces only.
        written = ray.data.from_items(list(range(len(pieces))), override_num_blocks=len(pieces)).map_batches(
            _Writer(work, pieces), batch_size=1, batch_format="numpy"
        )
        rows = written.take_all()
    return [
        FeatureFile(Part(**{name: row[name] for name in _PART}), row["of"], row["incomplete"]) for row in rows
    ]


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
def _compute(
    windows: Sequence[Window], frauds: EntityFrauds, wave: Wave, asking: Sequence[int], *slices: Slice
) -> Any:
    before, fresh = slices[: wave.begin - wave.first], slices[wave.begin - wave.first :]
    pieces = steps.compute(windows, frauds, before, fresh)
    return _returns([pieces[number - wave.begin] for number in asking])


def _returns(values: list[Any]) -> Any:
    """A task of one return gives the value itself, one of several gives a list."""
    return values[0] if len(values) == 1 else values


class _Writer:
    """Writes the features files of one group in a Ray Data task."""

    def __init__(self, work: Work, pieces: _Pieces) -> None:
        self.work = work
        self.pieces = list(pieces.items())

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, list[Any]]:
        number, given = self.pieces[int(batch["item"][0])]
        own = {
            key: ray.get([piece for of, piece in given if of == key]) for key in self.work.feature_set.keys
        }
        written = steps.write(self.work, self.work.groups[number], own)
        columns: dict[str, list[Any]] = {
            name: [getattr(file.part, name) for file in written] for name in _PART
        }
        return columns | {"of": [file.of for file in written], "incomplete": [f.incomplete for f in written]}
