"""The lake's facts as the online state keeps them: narrow records by entity, and ids."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.errors import SchemaError, TableNotFoundError
from fraud.features.facts import NO_TEXT, STATUS_TIME, Bools, Facts, Ints
from fraud.features.layout import KeyLayout, Layout
from fraud.features.packed import AMOUNT, Packed
from fraud.features.track import LABELS, Track
from fraud.jobs.entity_numbers import entity_numbers, integers, text_numbers
from fraud.storage.lake import Lake, Part
from fraud.storage.state_keys import About, Sources

ENTITY: Final = "entity"
_TIMES: Final = ("event_time", "tie", "known_at")


@dataclass(frozen=True, slots=True)
class Cut:
    """Some facts for a state.

    Attributes:
        records: By track number: records with the number of their entity in a column before the others,
            in any order.
        ids: One record a transaction: ``tie``, ``event_time`` and a column for each labelled entity,
            ``NO_TEXT`` where it has none.
        labels: How many labels there are.
    """

    records: dict[int, Packed]
    ids: Packed
    labels: int = 0


def with_entity(track: Track) -> np.dtype[Any]:
    """Return the type of a track's records with their entity."""
    return np.dtype([(ENTITY, "<i8"), *track.format.widest.descr])


def id_type(layout: Layout) -> np.dtype[Any]:
    """Return the type of ids."""
    names = [str(key.number) for key in layout.labelled]
    return np.dtype([(name, "<i8") for name in ("tie", "event_time", *names)])


@dataclass(frozen=True)
class Scope:
    """Which facts of the lake a state holds.

    Attributes:
        lake: Holds ``transactions`` and ``labels``.
        about: What the state is: its layout and what it holds of the lake.
        sources: The codes of the labels' sources.
    """

    lake: Lake
    about: About
    sources: Sources

    def transaction_parts(self, *, beside: Collection[str] = ()) -> list[Part]:
        """Return the files of transactions, by day; those with these paths are left out."""
        version = self.about.transactions_version
        if version is None:
            return []
        oldest = day_of(self.oldest(self.about.layout.history_us))
        parts = self.lake.parts(schema.TRANSACTIONS, version=version)
        return [part for part in parts if part.path not in beside and (part.event_date or oldest) >= oldest]

    def label_parts(self, *, beside: Collection[str] = ()) -> list[Part]:
        """Return the files of labels; those with these paths are left out."""
        version = self.about.labels_version
        if version is None or not self.about.layout.labelled:
            return []
        return [part for part in self.lake.parts(schema.LABELS, version=version) if part.path not in beside]

    def transactions(self, parts: Sequence[Part], *, since: int | None = None) -> Cut:
        """Read files of transactions; those before ``since`` are left out.

        Raises:
            SchemaError: The lake lacks a column that a window reads.
        """
        layout = self.about.layout
        table = self._read(schema.TRANSACTIONS, parts, _columns(layout), [*_texts(layout), "kind"])
        table = table.filter(_is_in(table.column("kind"), {*layout.kinds, *schema.SCORED_KINDS}))
        table = self._held(table, "event_time", since)
        records = {}
        for key in layout.keys.values():
            number, present = entity_numbers(table, key.entity)
            if len(key.kinds) < len(schema.KINDS):
                present &= np.asarray(_is_in(table.column("kind"), set(key.kinds)))
            facts = _facts(table, key)
            records[key.transactions.number] = self._chosen(
                key.transactions, number, present, key.transactions.format.records(facts)
            )
        return Cut(records, self._ids(table))

    def labels(self, parts: Sequence[Part], *, since: int | None = None) -> Cut:
        """Read files of labels; those before ``since`` are left out."""
        layout = self.about.layout
        entities = list(dict.fromkeys(name for key in layout.labelled for name in key.entity))
        columns = ["transaction_id", "event_time", "label_time", "source", "is_fraud", *entities]
        table = self._held(
            self._read(schema.LABELS, parts, columns, ["source", *entities]), "label_time", since
        )
        rows = np.empty(table.num_rows, LABELS.widest)
        rows["event_time"], rows["label_time"] = integers(table, "event_time"), integers(table, "label_time")
        rows["tie"] = [schema.tie(each) for each in table.column("transaction_id").to_pylist()]
        rows["source"] = [self.sources.names.index(each) for each in table.column("source").to_pylist()]
        rows["is_fraud"] = table.column("is_fraud").to_numpy()
        records = {}
        for key in layout.labelled:
            if key.labels is not None:
                number, present = entity_numbers(table, key.entity)
                records[key.labels.number] = self._chosen(key.labels, number, present, rows)
        recent = rows["event_time"] >= self.oldest(layout.history_us)
        return Cut(records, np.empty(0, id_type(layout)), int(np.count_nonzero(recent)))

    def oldest(self, history_us: int) -> int:
        """Return the oldest event time of what is kept with such a history, microseconds."""
        return self.about.as_of_us - self.about.late_us - history_us

    def _held(self, table: pa.Table, column: str, since: int | None) -> pa.Table:
        if self.about.until_us is None and since is None:
            return table
        time = integers(table, column)
        kept = np.ones(len(time), np.bool_) if since is None else time >= since
        return table.filter(
            pa.array(kept if self.about.until_us is None else kept & (time < self.about.until_us))
        )

    def _chosen(self, track: Track, number: Ints, present: Bools, rows: Packed) -> Packed:
        """The records of this track with their entities."""
        chosen = np.flatnonzero(present & (rows["event_time"] >= self.oldest(track.history_us)))
        whole = np.empty(len(chosen), with_entity(track))
        whole[ENTITY] = number[chosen]
        for name in rows.dtype.names or ():
            whole[name] = rows[name][chosen]
        return whole

    def _ids(self, table: pa.Table) -> Packed:
        layout = self.about.layout
        ids = np.empty(table.num_rows, id_type(layout))
        ids["tie"], ids["event_time"] = integers(table, "tie"), integers(table, "event_time")
        for key in layout.labelled:
            number, present = entity_numbers(table, key.entity)
            ids[str(key.number)] = np.where(present, number, NO_TEXT)
        kept: Packed = ids[ids["event_time"] >= self.oldest(layout.history_us)]
        return kept

    def _read(
        self, name: str, parts: Sequence[Part], columns: Sequence[str], encoded: Sequence[str]
    ) -> pa.Table:
        present = self.lake.schema(name).names
        problems = [
            f"it has no column {column}, which a window reads" for column in columns if column not in present
        ]
        if problems:
            raise SchemaError(f"table {name}", problems)
        tables = [self.lake.read_part(name, part, columns, encoded=encoded) for part in parts]
        return pa.concat_tables(tables).unify_dictionaries()


def scope_of(lake: Lake, layout: Layout, *, late_us: int, as_of: datetime | None, version: int) -> Scope:
    """Return what a new state holds of the lake as it is now.

    Args:
        lake: To read.
        layout: What to keep.
        late_us: See ``About``.
        as_of: Facts from then on are left out; None takes everything.
        version: Of the state's format.

    Raises:
        TableNotFoundError: There are no transactions.
    """
    if not lake.exists(schema.TRANSACTIONS):
        raise TableNotFoundError(schema.TRANSACTIONS, lake.uri, "run `fraud ingest` first")
    transactions, labels = lake.version(schema.TRANSACTIONS), lake.version(schema.LABELS)
    until = None if as_of is None else _micros(as_of)
    at = after_everything(lake, transactions) if until is None else until
    about = About(version, layout.to_json(), late_us, at, until, transactions, labels)
    return Scope(lake, about, Sources(()).with_names(label_sources(lake, labels)))


def label_sources(lake: Lake, version: int | None) -> set[str]:
    """Return the sources of all labels of a version of the table."""
    if version is None:
        return set()
    found: set[str] = set()
    for part in lake.parts(schema.LABELS, version=version):
        column = lake.read_part(schema.LABELS, part, ["source"], encoded=["source"]).column("source")
        found.update(pc.unique(column).to_pylist())
    return found


def after_everything(lake: Lake, version: int | None) -> int:
    """Return the end of the newest day of ``transactions``, microseconds."""
    days = [part.event_date for part in lake.parts(schema.TRANSACTIONS, version=version) if part.event_date]
    newest = max(days, default=date(1970, 1, 1))
    return _micros(datetime(newest.year, newest.month, newest.day, tzinfo=UTC) + timedelta(days=1))


def day_of(time: int) -> date:
    """Return the UTC date of a time in microseconds."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)).date()


def runs(rows: Packed) -> Iterator[tuple[int, Packed]]:
    """The entities of records that are ordered by them, each with its own."""
    entity = np.ascontiguousarray(rows[ENTITY])
    begin = np.flatnonzero(np.append(True, entity[1:] != entity[:-1])).tolist() if len(rows) else []
    for first, last in zip(begin, [*begin[1:], len(rows)], strict=False):
        yield int(entity[first]), rows[first:last]


def groups(parts: Iterable[Part], rows: int) -> list[list[Part]]:
    """Return the files in their order, in groups of about so many rows."""
    found: list[list[Part]] = []
    size = rows
    for part in parts:
        if size >= rows:
            found.append([])
            size = 0
        found[-1].append(part)
        size += part.rows
    return found


def _micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _columns(layout: Layout) -> list[str]:
    stored = {AMOUNT: "amount_base_minor"}
    kept = [stored.get(name, name) for key in layout.keys.values() for name in key.columns]
    entities = [name for key in layout.keys.values() for name in key.entity]
    return list(dict.fromkeys(["kind", *_TIMES, *entities, *kept]))


def _texts(layout: Layout) -> list[str]:
    kept = [name for key in layout.keys.values() for name in key.columns if _is_text(key, name)]
    return list(dict.fromkeys([*kept, *(name for key in layout.keys.values() for name in key.entity)]))


def _is_text(key: KeyLayout, name: str) -> bool:
    return key.columns[name] == "<i8" and name not in (AMOUNT, STATUS_TIME)


def _facts(table: pa.Table, key: KeyLayout) -> Facts:
    event_time, tie, known_at = (integers(table, name) for name in _TIMES)
    return Facts(event_time, tie, known_at, {name: _column(table, key, name) for name in key.columns})


def _column(table: pa.Table, key: KeyLayout, name: str) -> NDArray[Any]:
    if name == AMOUNT:
        return integers(table, "amount_base_minor")
    if name == STATUS_TIME:
        times = table.column(name).cast(pa.int64()).fill_null(0)
        return np.asarray(times.to_numpy(), np.int64)
    if _is_text(key, name):
        return text_numbers(table.column(name))
    return np.asarray(table.column(name).cast(pa.float64()).fill_null(np.nan).to_numpy(), np.float64)


def _is_in(column: pa.ChunkedArray, values: Collection[str]) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    return pc.is_in(column, value_set=pa.array(sorted(values)))
