"""The three steps of computing features over files: cut narrow rows by entity, compute, write.

Only (entity, time, values) leave a row's own group of files and only window features come back, to their
row's position; the writer puts them beside what the row says of itself. Each step is a plain function of a
``Work``; ``fraud.jobs.exchange`` runs them, in this process or as Ray tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.features import loops
from fraud.features.batch import EntityFrauds, window_features, window_names
from fraud.features.facts import STATUS_TIME, Bools, Facts, Floats, Ints, in_order
from fraud.features.kind import Rows
from fraud.features.kinds.window import Window
from fraud.features.row import row_features
from fraud.features.spec import FeatureSet
from fraud.jobs.entity_numbers import entity_numbers, integers, text_numbers
from fraud.jobs.history import History
from fraud.storage.lake import Lake, Part

PartitionedFrauds = dict[str, list[EntityFrauds]]
"""Per entity key, partition after partition."""

_TIMES = ("event_time", "tie", "known_at")


@dataclass(frozen=True, slots=True)
class File:
    """A file of ``transactions``; ``asked`` says whether its features are wanted or only its history."""

    part: Part
    asked: bool


@dataclass(frozen=True, slots=True)
class Group:
    """The files of some successive days; ``shared`` where another group holds files of the same day."""

    files: tuple[File, ...]
    shared: bool = False

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.part.rows for file in self.files)

    @property
    def asked(self) -> bool:
        """Whether any features are wanted."""
        return any(file.asked for file in self.files)

    @property
    def first_day(self) -> date:
        """The day of the oldest file."""
        return self.files[0].part.day

    @property
    def last_day(self) -> date:
        """The day of the youngest file."""
        return self.files[-1].part.day


@dataclass(frozen=True, slots=True)
class Work:
    """Everything a step needs to know.

    Attributes:
        lake: Holds ``transactions``; features files are written there.
        feature_set: What to compute.
        groups: The files, in the order of their days.
        partitions: How many each entity is cut into.
        history: Where the lake's history begins.
    """

    lake: Lake
    feature_set: FeatureSet
    groups: tuple[Group, ...]
    partitions: int
    history: History

    @property
    def columns(self) -> list[tuple[str, int]]:
        """Every (entity key, partition), in the order in which ``cut`` returns its slices."""
        return [(key, partition) for key in self.feature_set.keys for partition in range(self.partitions)]


@dataclass(frozen=True, slots=True)
class Narrow:
    """Facts as they travel; what follows from the rest stays at home.

    Attributes:
        event_time: Microseconds, shape ``(n,)``.
        tie: None where the order of the rows says it.
        known_at: None where every row was known when it happened.
        columns: As in ``Facts``, in the smallest type that holds them.
    """

    event_time: Ints
    tie: Ints | None
    known_at: Ints | None
    columns: dict[str, NDArray[Any]]

    def take(self, order: Ints) -> Narrow:
        """Return the facts at these positions."""
        known = None if self.known_at is None else self.known_at[order]
        if known is not None and np.array_equal(known, self.event_time[order]):
            known = None
        return Narrow(
            self.event_time[order],
            None if self.tie is None else self.tie[order],
            known,
            {name: column[order] for name, column in self.columns.items()},
        )


@dataclass(frozen=True, slots=True)
class Slice:
    """What a group sends to one partition of an entity, in the order of time; arrays of shape ``(n,)``.

    Attributes:
        position: Of the row among the group's asked ones, -1 where only its history is lent.
        entity: The number of its entity.
        narrow: The facts.
    """

    position: NDArray[np.int32]
    entity: Ints
    narrow: Narrow


@dataclass(frozen=True, slots=True)
class Piece:
    """Window features of some rows of one group: ``values[i, j]`` is feature j of row ``position[i]``.

    Positions ascend.
    """

    position: NDArray[np.int32]
    values: Floats

    @classmethod
    def of(cls, position: NDArray[np.int32], values: Floats) -> Piece:
        """Keep the rows that have a position; they ascend but where late files were sorted in."""
        if np.all(position[:-1] < position[1:]) and not np.any(position[:1] < 0):
            return cls(position, values)
        order = np.argsort(position)[np.count_nonzero(position < 0) :]
        return cls(position[order], values[order])


@dataclass(frozen=True, slots=True)
class FeatureFile:
    """A features file that was written.

    Attributes:
        part: Of the features table.
        of: Path of its transactions file.
        incomplete: Rows whose windows reach back beyond the lake's history.
    """

    part: Part
    of: str
    incomplete: int


def cut(work: Work, group: Group) -> list[Slice]:
    """Read a group's files and cut their rows by entity and partition, see ``Work.columns``."""
    table = _read(work, group)
    position = table.column("position").to_numpy()
    slices: list[Slice] = []
    for windows in work.feature_set.keys.values():
        number, present = entity_numbers(table, windows[0].window)
        chosen = np.flatnonzero(present)
        home = _partition(number[chosen], work.partitions)
        order, bounds = loops.stable_order(home, work.partitions)
        facts = _narrow(table, windows, work.feature_set, shared=group.shared)
        for begin, end in pairwise(bounds.tolist()):
            own = chosen[order[begin:end]]
            slices.append(Slice(position[own], number[own], facts.take(own)))
    return slices


def compute(
    windows: Sequence[Window], frauds: EntityFrauds, before: Sequence[Slice], slices: Sequence[Slice]
) -> list[Piece]:
    """Compute the windows of one partition of an entity.

    Args:
        windows: All of the entity.
        frauds: Of the partition.
        before: What the windows reach back into.
        slices: Successive ones.

    Returns:
        A piece of each of ``slices``, with its asked rows.
    """
    every = [*before, *slices]
    since = sum(len(piece.entity) for piece in before)
    entity = np.concatenate([piece.entity for piece in every])
    facts = _facts([piece.narrow for piece in every])
    values = window_features(windows, entity, facts, frauds, since=since)
    ends = np.cumsum([len(piece.entity) for piece in slices]).tolist()
    return [
        Piece.of(piece.position, values[end - len(piece.entity) : end])
        for piece, end in zip(slices, ends, strict=True)
    ]


def write(work: Work, group: Group, pieces: Mapping[str, Sequence[Piece]]) -> list[FeatureFile]:
    """Put the group's window features beside its rows and write one features file for every asked file.

    Args:
        work: The work.
        group: Of files.
        pieces: Per entity key what its partitions computed for this group.
    """
    written, start = [], 0
    for part in (file.part for file in group.files if file.asked):
        table = _scored(_read_part(work, part, _read_to_write(work.feature_set)))
        columns: dict[str, Floats] = {}
        for key, windows in work.feature_set.keys.items():
            found = _columns(pieces[key], len(window_names(windows)), start, table.num_rows)
            columns |= dict(zip(window_names(windows), found, strict=True))
        written.append(_write(work, part, table, columns))
        start += table.num_rows
    return written


def _columns(pieces: Sequence[Piece], features: int, start: int, rows: int) -> Floats:
    """The window features of some successive rows, NaN where the entity is missing; ``(features, rows)``."""
    columns = np.full((features, rows), np.nan)
    for piece in pieces:
        # Bounds of the positions' own type: others would make a copy of all of them.
        bounds = np.array([start, start + rows], piece.position.dtype)
        own = slice(*np.searchsorted(piece.position, bounds))
        loops.put_columns(piece.values[own], piece.position[own] - start, columns)
    return columns


def _read_to_write(feature_set: FeatureSet) -> list[str]:
    columns = ["transaction_id", "kind", "event_time", "amount_base_minor"]
    return [*columns, *feature_set.numbers, *_own_texts(feature_set)]


def _own_texts(feature_set: FeatureSet) -> list[str]:
    return list(dict.fromkeys(name for each in feature_set.declarations for name in each.texts))


def _write(work: Work, part: Part, table: pa.Table, windows: dict[str, Floats]) -> FeatureFile:
    feature_set, event_time = work.feature_set, integers(table, "event_time")
    rows = Rows(
        time_zone=feature_set.time_zone,
        event_time=event_time,
        amount=integers(table, "amount_base_minor"),
        numbers={name: _floats(table, name) for name in feature_set.numbers},
        texts={name: text_numbers(table.column(name)) for name in _own_texts(feature_set)},
        features=dict(windows),
    )
    columns = row_features(feature_set, rows)
    complete = work.history.complete(event_time)
    features = pa.table(
        {
            "transaction_id": table.column("transaction_id"),
            "event_time": table.column("event_time"),
            "history_complete": complete,
            **columns,
        },
        schema=_stored_features(feature_set.names),
    )
    own = work.lake.write_part(feature_set.table, features, part.event_date, stem=features_stem(part))
    return FeatureFile(own, part.path, int(np.count_nonzero(~complete)))


def _stored_features(names: Sequence[str]) -> pa.Schema:
    """The schema of a features file: a missing feature is NaN, so nothing is null."""
    schema_of = schema.features(names)
    return pa.schema([schema_of.field(name).with_nullable(False) for name in schema_of.names[:-1]])


def features_stem(part: Part) -> str:
    """What the name of a transactions file's features file begins with."""
    return part.path.rsplit("/", 1)[-1].removesuffix(".parquet")


def _read(work: Work, group: Group) -> pa.Table:
    """The group's rows that are scored or enter a window, in order, with ``position`` as in ``Slice``."""
    columns = ["kind", *_TIMES, *work.feature_set.entities]
    for window in work.feature_set.windows:
        columns += [_stored(column) for column in _values(window)]
    tables, start = [], 0
    for file in group.files:
        table = _of_kinds(_read_part(work, file.part, columns), work.feature_set.kinds)
        position = _positions(table, start) if file.asked else np.full(table.num_rows, -1, np.int32)
        start = max(start, int(position.max(initial=-1)) + 1)
        tables.append(_in_order(table.append_column("position", pa.array(position))))
    return _in_order(pa.concat_tables(tables))


def _read_part(work: Work, part: Part, columns: Sequence[str]) -> pa.Table:
    wanted = list(dict.fromkeys(columns))
    few = {"kind", "status", *work.feature_set.texts} - set(work.feature_set.entities)
    encoded = [name for name in wanted if name in few]
    return work.lake.read_part(schema.TRANSACTIONS, part, wanted, encoded=encoded)


def _values(window: Window) -> list[str]:
    """The columns of ``Facts`` that a window reads."""
    columns = ["amount"] if window.of == "amount" else []
    columns += [name for name in (window.of_number, window.of_text) if name]
    columns += [column for column in window.conditions if column != "kind"]
    return [*columns, *([STATUS_TIME] if window.on_status else [])]


def _stored(column: str) -> str:
    return "amount_base_minor" if column == "amount" else column


def _scored(table: pa.Table) -> pa.Table:
    return _of_kinds(table, schema.SCORED_KINDS)


def _of_kinds(table: pa.Table, kinds: Sequence[str]) -> pa.Table:
    wanted = _is_of(table.column("kind"), kinds)
    return table if wanted is None else table.filter(pa.array(wanted))


def _is_of(column: pa.ChunkedArray, kinds: Sequence[str]) -> Bools | None:
    """Which rows are of these kinds, shape ``(n,)``; None where their dictionaries hold no other."""
    if all(set(chunk.dictionary.to_pylist()) <= set(kinds) for chunk in column.chunks):
        return None
    return np.asarray(pc.is_in(column, value_set=pa.array(kinds)), np.bool_)


def _positions(table: pa.Table, start: int) -> NDArray[np.int32]:
    """Where each row stands among the scored ones, counted from ``start``; -1 for the others."""
    scored = _is_of(table.column("kind"), schema.SCORED_KINDS)
    if scored is None:
        return np.arange(start, start + table.num_rows, dtype=np.int32)
    return np.where(scored, start + np.cumsum(scored) - 1, -1).astype(np.int32)


def _in_order(table: pa.Table) -> pa.Table:
    """The rows by (event_time, tie), as they are mostly stored."""
    time, tie = integers(table, "event_time"), integers(table, "tie")
    if in_order(time, tie):
        return table
    return table.unify_dictionaries().combine_chunks().take(pa.array(np.lexsort((tie, time))))


def _narrow(table: pa.Table, windows: Sequence[Window], feature_set: FeatureSet, *, shared: bool) -> Narrow:
    time, known = integers(table, "event_time"), integers(table, "known_at")
    columns = {name: _column(table, name) for window in windows for name in _values(window)}
    if set(feature_set.kinds) != set(schema.SCORED_KINDS):
        columns["kind"] = text_numbers(table.column("kind"))
    return Narrow(
        time, integers(table, "tie") if shared else None, known if np.any(known != time) else None, columns
    )


def _column(table: pa.Table, name: str) -> NDArray[Any]:
    column = table.column(_stored(name))
    if name == "amount":
        amount = integers(table, _stored(name))
        fits = len(amount) == 0 or np.abs(amount).max() < 2**31
        return amount.astype(np.int32) if fits else amount
    if name == STATUS_TIME:
        return np.asarray(column.cast(pa.int64()).fill_null(0).to_numpy(), np.int64)
    if pa.types.is_floating(column.type):
        return _floats(table, name)
    return text_numbers(column)


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table.column(name).to_numpy(), np.float64)


def _facts(narrow: Sequence[Narrow]) -> Facts:
    """The facts of successive groups, whose order is the order of time unless they carry their ties."""
    time = np.concatenate([each.event_time for each in narrow])
    late = any(each.known_at is not None for each in narrow)
    tied = any(each.tie is not None for each in narrow)
    known = [each.event_time if each.known_at is None else each.known_at for each in narrow]
    ties = (
        [np.arange(len(each.event_time)) if each.tie is None else each.tie for each in narrow] if tied else []
    )
    columns = {
        name: _widened(np.concatenate([each.columns[name] for each in narrow])) for name in narrow[0].columns
    }
    return Facts(
        time,
        np.concatenate(ties) if tied else np.arange(len(time)),
        np.concatenate(known) if late else time,
        columns,
    )


def _widened(column: NDArray[Any]) -> NDArray[Any]:
    return column.astype(np.int64) if column.dtype == np.int32 else column


def _partition(number: Ints, partitions: int) -> Ints:
    return (number.view(np.uint64) % np.uint64(partitions)).astype(np.int64)


def frauds_by_partition(frauds: EntityFrauds, partitions: int) -> list[EntityFrauds]:
    """Cut the frauds of an entity as ``cut`` cuts its rows."""
    home = _partition(frauds.entity, partitions)
    return [frauds.take(np.flatnonzero(home == partition)) for partition in range(partitions)]
