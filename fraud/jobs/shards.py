"""One part of the examples per training worker: every row in exactly one part, no part empty.

Ray Train's own split makes parts of equal length and drops the remainder; fraud is too rare to drop rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow.compute as pc
from ray.data import Dataset

from fraud.errors import NotEnoughDataError

LABEL: Final = "is_fraud"
"""The label column of examples, bool."""


@dataclass(frozen=True)
class Shards:
    """A dataset cut into one materialised part per worker.

    Attributes:
        parts: One dataset per rank, each with at least one row.
        rows: Rows of all parts together.
    """

    parts: tuple[Dataset, ...]
    rows: int


def cuts(rows: int, workers: int) -> list[int]:
    """Return the row numbers at which the parts after the first begin; lengths differ by at most one."""
    return [rows * rank // workers for rank in range(1, workers)]


def shard(dataset: Dataset, names: Sequence[str], workers: int) -> Shards:
    """Cut a dataset into one part per worker.

    Args:
        dataset: Examples with the label and the feature columns, at least.
        names: Feature columns.
        workers: Parts to make.

    Raises:
        NotEnoughDataError: There are fewer rows than workers, or rows of one class only.
    """
    examples = dataset.select_columns([LABEL, *names]).materialize()
    rows, frauds = _count(examples)
    _check(rows, frauds, workers)
    parts = examples.split_at_indices(cuts(rows, workers)) if workers > 1 else [examples]
    return Shards(tuple(parts), rows)


def _count(examples: Dataset) -> tuple[int, int]:
    # One bit a row: only the labels come to the driver.
    labels = examples.select_columns([LABEL]).iter_batches(batch_size=None, batch_format="pyarrow")
    frauds = sum(pc.sum(batch.column(LABEL)).as_py() or 0 for batch in labels)
    return examples.count(), frauds


def _check(rows: int, frauds: int, workers: int) -> None:
    if rows < workers:
        raise NotEnoughDataError(
            f"there are {rows} labelled transactions to train on, fewer than train.workers = {workers}: "
            "take a longer training period, or ingest and featurize more days"
        )
    if frauds in (0, rows):
        only = "no fraud" if frauds == 0 else "nothing but fraud"
        raise NotEnoughDataError(
            f"the {rows} labelled transactions to train on hold {only}: "
            "take a longer training period, or check the mapping's labels"
        )
