"""The exchange by entity: narrow rows travel to their entity's partition, features travel back.

Only (entity, time, tie, known, amount) leave a row's own group of files and only window features return, in
the order in which the rows were sent, so that a writer can put them beside the rows it reads again. These
are plain named Ray tasks; Ray Data reads, computes what a row says of itself, and writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import xxhash
from numpy.typing import NDArray

from fraud.features.batch import Frauds, Transactions, window_features
from fraud.features.spec import Window
from fraud.schema import SCORED_KINDS
from fraud.storage.lake import Lake, Part

Ints = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Slice:
    """What one group of files sends to one partition, or gets back from it.

    Attributes:
        position: Of the rows in their group, shape ``(n,)``.
        transactions: The narrow rows, shape ``(n,)``.
    """

    position: Ints
    transactions: Transactions


@dataclass(frozen=True, slots=True)
class WindowColumns:
    """Window features of some rows of one group: ``columns[name][i]`` belongs to row ``position[i]``."""

    position: Ints
    columns: dict[str, NDArray[np.float64]]


def scored_rows(table: pa.Table) -> pa.Table:
    """Return the rows that are scored, in their order; sender and writer must agree on them."""
    return table.filter(pc.is_in(table.column("kind"), value_set=pa.array(SCORED_KINDS)))


def entity_numbers(ids: pa.ChunkedArray) -> tuple[Ints, NDArray[np.bool_]]:
    """Return a 64-bit hash per id, and which ids are not null.

    Two ids of one hash would share a history; among a hundred million ids the chance of any is 3 in 10,000.
    """
    encoded = pc.dictionary_encode(ids).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
    hashes = np.array(
        [xxhash.xxh3_64_intdigest(value.encode()) for value in encoded.dictionary.to_pylist()] or [0],
        np.uint64,
    ).view(np.int64)
    valid = np.asarray(encoded.indices.is_valid())
    return hashes[np.asarray(encoded.indices.fill_null(0))], valid


def _narrow(table: pa.Table, entity: str) -> Slice:
    number, valid = entity_numbers(table.column(entity))
    position = np.flatnonzero(valid).astype(np.int64)
    transactions = Transactions(
        number,
        integers(table, "event_time"),
        integers(table, "tie"),
        integers(table, "known_at"),
        integers(table, "amount_base_minor"),
    )
    return Slice(position, transactions.take(position))


def integers(table: pa.Table, column: str) -> Ints:
    """Return a column as 64-bit integers: times as microseconds, shape ``(n,)``."""
    return np.asarray(table.column(column).cast(pa.int64()).to_numpy(), np.int64)


def _partition(number: Ints, partitions: int) -> Ints:
    return (number.view(np.uint64) % np.uint64(partitions)).astype(np.int64)


def _returns(values: list[T]) -> list[T] | T:
    """A task of one return gives the value itself, one of several gives a list."""
    return values[0] if len(values) == 1 else values


@ray.remote(num_cpus=1)
def send(lake: Lake, parts: Sequence[Part], entities: Sequence[str], partitions: int) -> list[Slice] | Slice:
    """Read a group of transaction files and cut its rows by entity column, then partition."""
    columns = ["kind", "event_time", "tie", "known_at", "amount_base_minor", *entities]
    table = scored_rows(pa.concat_tables([lake.read_part("transactions", part, columns) for part in parts]))
    slices = []
    for entity in entities:
        rows = _narrow(table, entity)
        home = _partition(rows.transactions.entity, partitions)
        for partition in range(partitions):
            chosen = np.flatnonzero(home == partition)
            slices.append(Slice(rows.position[chosen], rows.transactions.take(chosen)))
    return _returns(slices)


@ray.remote(num_cpus=1)
def compute(
    windows: Sequence[Window], frauds: Frauds, asked: Sequence[bool], *slices: Slice
) -> list[WindowColumns] | WindowColumns:
    """Compute the windows of one partition and give each asking group its rows back.

    Args:
        windows: All over one entity column.
        frauds: Of this entity column; those of other partitions are ignored.
        asked: Per slice, whether its group wants features or only lends its history.
        slices: One a group.
    """
    whole = Transactions(
        *(
            np.concatenate([getattr(piece.transactions, name) for piece in slices])
            for name in ("entity", "event_time", "tie", "known_at", "amount")
        )
    )
    columns = window_features(windows, whole, frauds)
    ends = np.cumsum([len(piece.position) for piece in slices])
    given = [
        WindowColumns(
            piece.position,
            {name: column[end - len(piece.position) : end] for name, column in columns.items()},
        )
        for piece, end, wanted in zip(slices, ends, asked, strict=True)
        if wanted
    ]
    return _returns(given)
