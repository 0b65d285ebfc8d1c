"""One part of the examples per training worker: every row in exactly one part, no part empty.

Ray Data writes the examples as plain float32 matrices into the run's folder, and a part is a list of slices
of those files. XGBoost passes over the rows five times: a pass reads files from end to end, converts nothing,
and holds one batch. The rows take no room in the object store, and outlive the node that wrote them.
Ray Train's own split makes parts of equal length and drops the remainder; fraud is too rare to drop rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud.errors import NotEnoughDataError, SchemaError
from fraud.features.encode import matrix
from fraud.jobs import sampling
from fraud.settings import TrainSettings

if TYPE_CHECKING:
    from ray.data import Dataset

LABEL: Final = "is_fraud"
"""The label column of examples, bool."""

_FEATURES, _LABELS = ".features", ".labels"
_FLOAT_BYTES: Final = 4
_WRITE_ROWS: Final = 65_536


@dataclass(frozen=True)
class Piece:
    """Some rows of a written block that follow each other.

    Attributes:
        block: Absolute path, without the ending, of the block's two files.
        first: Number of its first row.
        rows: How many; at least one.
    """

    block: str
    first: int
    rows: int

    def __len__(self) -> int:
        return self.rows

    def features(self, width: int) -> NDArray[np.float32]:
        """Read the features, shape ``(rows, width)``; ``width`` is that of the file."""
        at = self.first * width * _FLOAT_BYTES
        return np.fromfile(self.block + _FEATURES, np.float32, count=self.rows * width, offset=at).reshape(
            self.rows, width
        )

    def labels(self) -> NDArray[np.float32]:
        """Read the labels, 1 for fraud, shape ``(rows,)``."""
        return np.fromfile(
            self.block + _LABELS, np.float32, count=self.rows, offset=self.first * _FLOAT_BYTES
        )


@dataclass(frozen=True)
class Shards:
    """A dataset cut into one part per worker.

    Attributes:
        parts: The pieces of each rank, together at least one row.
        rows: Rows of all parts together.
    """

    parts: tuple[tuple[Piece, ...], ...]
    rows: int


def columns(settings: TrainSettings) -> list[str]:
    """Return the columns of examples that ``shard`` reads beside the features."""
    return [LABEL, *([sampling.ID] if settings.negative_share < 1 else [])]


def shard(dataset: Dataset, names: Sequence[str], settings: TrainSettings, folder: Path) -> Shards:
    """Write a dataset and cut it into one part per worker.

    Args:
        dataset: Examples: the columns of ``columns`` and the features, at least; run once.
        names: Feature columns.
        settings: Workers, the share of genuine rows to train on, and the fewest frauds.
        folder: An absolute one that the nodes of all workers see; made where it is missing.

    Raises:
        SchemaError: A column is missing.
        NotEnoughDataError: There are fewer rows than workers, too few frauds, or nothing else.
    """
    write = _Write(tuple(names), settings.negative_share, str(folder))
    written = dataset.map_batches(
        write, batch_size=None, batch_format="pyarrow", zero_copy_batch=True
    ).take_all()
    blocks = [Piece(block["block"], 0, block["rows"]) for block in written if block["rows"] > 0]
    rows = sum(map(len, blocks))
    _check(rows, sum(block["frauds"] for block in written), settings)
    return Shards(tuple(deal(blocks, settings.workers)), rows)


def deal(pieces: Sequence[Piece], parts: int) -> list[tuple[Piece, ...]]:
    """Cut pieces into parts, in their order, whose lengths differ by at most one row.

    Args:
        pieces: At least as many rows as parts.
        parts: How many.
    """
    rows = sum(map(len, pieces))
    ends = [rows * (part + 1) // parts for part in range(parts)]
    dealt: list[list[Piece]] = [[] for _ in ends]
    part = done = 0
    for piece in pieces:
        taken = 0
        while taken < piece.rows:
            some = min(piece.rows - taken, ends[part] - done)
            dealt[part].append(Piece(piece.block, piece.first + taken, some))
            taken, done = taken + some, done + some
            part += done == ends[part]
    return [tuple(each) for each in dealt]


def batches(pieces: Sequence[Piece], width: int, rows: int) -> Iterator[tuple[NDArray[np.float32], ...]]:
    """Read pieces as batches of features ``(n, width)`` and labels ``(n,)``, n up to ``rows``."""
    total = sum(map(len, pieces))
    for batch in deal(pieces, -(-total // rows)):
        features = [piece.features(width) for piece in batch]
        labels = [piece.labels() for piece in batch]
        yield (
            (features[0], labels[0])
            if len(batch) == 1
            else (np.concatenate(features), np.concatenate(labels))
        )


@dataclass(frozen=True)
class _Write:
    """Writes the chosen rows of blocks in Ray Data tasks."""

    names: tuple[str, ...]
    negative_share: float
    folder: str

    def __call__(self, batch: pa.Table) -> pa.Table:
        block = Path(self.folder) / uuid4().hex
        rows = frauds = 0
        if batch.num_rows > 0:
            self._check(batch.column_names)
            chosen = sampling.keep(batch, LABEL, self.negative_share)
            rows, frauds = chosen.num_rows, pc.sum(chosen.column(LABEL)).as_py() or 0
            self._write(chosen, block)
        # What reading took is kept for the next block otherwise, and after the last one for nobody.
        pa.default_memory_pool().release_unused()
        return pa.table({"block": [str(block)], "rows": [rows], "frauds": [frauds]})

    def _write(self, rows: pa.Table, block: Path) -> None:
        block.parent.mkdir(parents=True, exist_ok=True)
        with (
            block.with_suffix(_FEATURES).open("wb") as features,
            block.with_suffix(_LABELS).open("wb") as labels,
        ):
            for first in range(0, rows.num_rows, _WRITE_ROWS):
                some = rows.slice(first, _WRITE_ROWS)
                matrix(some, self.names).tofile(features)
                np.asarray(some.column(LABEL), np.float32).tofile(labels)

    def _check(self, held: Sequence[str]) -> None:
        needed = [LABEL, *([sampling.ID] if self.negative_share < 1 else []), *self.names]
        missing = [name for name in needed if name not in held]
        if missing:
            raise SchemaError(
                "the examples to train on",
                [f"column {name} is missing: featurize a feature set that declares it" for name in missing],
            )


def _check(rows: int, frauds: int, settings: TrainSettings) -> None:
    if rows < settings.workers:
        raise NotEnoughDataError(
            f"there are {rows} labelled transactions to train on, fewer than train.workers = "
            f"{settings.workers}: take a longer training period, or ingest and featurize more days"
        )
    if frauds in (0, rows):
        only = "no fraud" if frauds == 0 else "nothing but fraud"
        raise NotEnoughDataError(
            f"the {rows} labelled transactions to train on hold {only}: "
            "take a longer training period, or check the mapping's labels"
        )
    if frauds < settings.min_frauds:
        raise NotEnoughDataError(
            f"the {rows} labelled transactions to train on hold {frauds} frauds, fewer than "
            f"train.min_frauds = {settings.min_frauds}: take a longer training period, ingest more labels, "
            "or lower the setting"
        )
