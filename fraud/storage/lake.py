"""The lake: Delta tables under one URI, written as Parquet by many tasks and committed once.

A ``Lake`` is a small value (a URI), safe to send to a Ray worker: tasks write part files with
``write_part``, the driver makes them visible with one ``commit``. A part that no commit names is
invisible garbage, so a job killed between the two leaves every table as it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, WriterProperties
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
from pyarrow.fs import FileSelector, FileType

from fraud.errors import (
    ChangedMeanwhileError,
    FormatVersionError,
    NotWrittenError,
    SchemaError,
    TableNotFoundError,
)
from fraud.schema import FORMAT_VERSION, PARTITION
from fraud.storage.files import is_remote, located

_FORMAT = "format_version="
"""Kept in the table's description: Delta refuses configuration keys it does not know."""


@dataclass(frozen=True, slots=True)
class Part:
    """A Parquet file of a table: written, and after its commit part of a version.

    Attributes:
        path: Relative to the table's folder.
        rows: Number of rows.
        size: Bytes.
        event_date: The partition, where the table has one.
    """

    path: str
    rows: int
    size: int
    event_date: date | None

    @property
    def day(self) -> date:
        """The partition; before every day where there is none."""
        return self.event_date or date.min


@dataclass(frozen=True, slots=True)
class Lake:
    """Delta tables under one absolute folder, or under an ``s3://bucket/prefix``."""

    uri: str

    def table_uri(self, name: str) -> str:
        """Where a table lies."""
        return f"{self.uri.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Whether the table has been created."""
        return bool(DeltaTable.is_deltatable(self.table_uri(name)))

    def tables(self) -> list[str]:
        """The names of all tables, sorted."""
        files, path = located(self.uri)
        found = files.get_file_info(FileSelector(path, allow_not_found=True))
        return sorted(
            each.base_name
            for each in found
            if each.type == FileType.Directory and self.exists(each.base_name)
        )

    def version(self, name: str) -> int | None:
        """The newest version, or None where there is no table."""
        return self._open(name).version() if self.exists(name) else None

    def app_version(self, name: str, app: str) -> int | None:
        """The application version last committed under this application id."""
        if not self.exists(name):
            return None
        found = self._open(name).transaction_version(app)
        return None if found is None else int(found)

    def committed(self, name: str, apps: Iterable[str]) -> tuple[int, dict[str, int]]:
        """The newest version of a table, and the application versions as of it; ids without one are left out.

        Raises:
            TableNotFoundError: The table does not exist.
        """
        table = self._open(name)
        found = {app: table.transaction_version(app) for app in apps}
        return int(table.version()), {app: int(at) for app, at in found.items() if at is not None}

    def committed_at(self, name: str, version: int) -> datetime:
        """When a version was made, or the oldest one after it that the table still knows of."""
        times = {int(each["version"]): int(each["timestamp"]) for each in self._open(name).history()}
        known = min(each for each in times if each >= version)
        return datetime.fromtimestamp(times[known] / 1000, UTC)

    def schema(self, name: str, *, version: int | None = None) -> pa.Schema:
        """The table's Arrow schema, the partition column last."""
        fields = pa.schema(self._open(name, version).schema().to_arrow())
        plain = [_plain(field) for field in fields]
        return pa.schema(sorted(plain, key=lambda field: field.name == PARTITION))

    def parts(self, name: str, *, version: int | None = None) -> list[Part]:
        """The files of a version, by partition, then path. ``path`` is relative, see ``part_uri``."""
        actions = pa.table(self._open(name, version).get_add_actions(flatten=True))
        dates = (
            actions.column(f"partition.{PARTITION}").to_pylist()
            if f"partition.{PARTITION}" in actions.column_names
            else [None] * actions.num_rows
        )
        rows = zip(
            actions.column("path").to_pylist(),
            actions.column("num_records").to_pylist(),
            actions.column("size_bytes").to_pylist(),
            dates,
            strict=True,
        )
        parts = [Part(path, int(n), int(size), day) for path, n, size, day in rows]
        return sorted(parts, key=lambda part: (part.event_date or date.min, part.path))

    def parts_since(self, name: str, earlier: int | None, *, version: int) -> list[Part]:
        """The files that an earlier version did not have; all of them where that is None or forgotten."""
        parts = self.parts(name, version=version)
        if earlier is None:
            return parts
        try:
            known = {part.path for part in self.parts(name, version=earlier)}
        except DeltaError:
            return parts
        return [part for part in parts if part.path not in known]

    def table_id(self, name: str) -> str:
        """What tells this table from every other, also from one made later in its place."""
        return str(self._open(name).metadata().id)

    def part_uri(self, name: str, part: Part) -> str:
        """The absolute path of a part."""
        return f"{self.table_uri(name)}/{part.path}"

    def read_part(
        self, name: str, part: Part, columns: Sequence[str] | None = None, *, encoded: Sequence[str] = ()
    ) -> pa.Table:
        """Read one part, its rows in file order.

        Args:
            name: The table.
            part: Of it.
            columns: What to read, the partition column where it is named; all of them where None.
            encoded: Text columns to return as dictionaries, as they are stored.
        """
        stored = None if columns is None else [column for column in columns if column != PARTITION]
        files, path = located(self.part_uri(name, part))
        file = pq.ParquetFile(path, filesystem=files, read_dictionary=list(encoded))
        table = file.read(columns=stored)
        if part.event_date is None or (columns is not None and PARTITION not in columns):
            return table
        days = pa.array([part.event_date], pa.date32()).take(pa.array([0] * table.num_rows, pa.int32()))
        return table.append_column(pa.field(PARTITION, pa.date32(), nullable=False), days)

    def read(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        version: int | None = None,
        days: tuple[date, date] | None = None,
    ) -> pa.Table:
        """Read a table, or its partitions with first <= event_date < last, into memory.

        Raises:
            TableNotFoundError: The table does not exist.
        """
        parts = [
            part
            for part in self.parts(name, version=version)
            if days is None or part.event_date is None or days[0] <= part.event_date < days[1]
        ]
        schema = self.schema(name, version=version)
        wanted = schema if columns is None else pa.schema([schema.field(column) for column in columns])
        tables = [self.read_part(name, part, wanted.names).select(wanted.names) for part in parts]
        return pa.concat_tables([wanted.empty_table(), *(table.cast(wanted) for table in tables)])

    def write_part(
        self, name: str, table: pa.Table, event_date: date | None = None, *, stem: str = "part"
    ) -> Part:
        """Write rows as one new Parquet file of a table; invisible until it is committed.

        Args:
            name: The table.
            table: Rows of one partition; a partition column is left out of the file.
            event_date: The partition all rows belong to.
            stem: What the file's name begins with.

        Raises:
            NotWrittenError: The disk is full or fails.
        """
        folder = "" if event_date is None else f"{PARTITION}={event_date.isoformat()}/"
        path = f"{folder}{stem}-{uuid4().hex}.parquet"
        files, target = located(f"{self.table_uri(name)}/{path}")
        stored = table.drop_columns([PARTITION]) if PARTITION in table.column_names else table
        try:
            self._make_folder()
            if not is_remote(self.uri):  # a store has no folders
                Path(target).parent.mkdir(parents=True, exist_ok=True)
            with files.open_output_stream(target) as sink:
                pq.write_table(
                    stored,
                    sink,
                    compression="zstd",
                    compression_level=1,
                    use_dictionary=_repetitive_texts(stored),
                    write_statistics=_times(stored),
                )
                size = sink.tell()
        except OSError as error:
            with suppress(OSError):
                files.delete_file(target)
            raise NotWrittenError(self.table_uri(name), str(error)) from error
        return Part(path, table.num_rows, size, event_date)

    def write_parts(self, name: str, table: pa.Table) -> list[Part]:
        """Write rows of any dates as one part per ``event_date``."""
        days = pc.unique(table.column(PARTITION)).to_pylist()
        return [
            self.write_part(
                name, table.filter(pc.equal(table.column(PARTITION), pa.scalar(day, pa.date32()))), day
            )
            for day in sorted(days)
        ]

    def commit(
        self,
        name: str,
        schema: pa.Schema,
        parts: Iterable[Part],
        *,
        apps: Mapping[str, int] | None = None,
        removed: Iterable[Part] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Add parts to a table, and take others out, in one atomic commit; a missing table is created.

        Args:
            name: The table.
            schema: Of all its columns; a column named ``event_date`` is the partition.
            parts: From ``write_part``.
            apps: Versions stored with the commit by application id; read back with ``app_version``.
            removed: Parts of the newest version that are no longer valid.
            metadata: Stored in the commit's history.

        Returns:
            The version this commit made.

        Raises:
            SchemaError: The table exists with other columns.
        """
        actions = [_add_action(part) for part in parts]
        partition_by = [PARTITION] if PARTITION in schema.names else None
        properties = CommitProperties(
            custom_metadata=dict(metadata or {}),
            app_transactions=[Transaction(app, version) for app, version in (apps or {}).items()],
        )
        if not self.exists(name):
            self._make_folder()
            create_table_with_add_actions(
                self.table_uri(name),
                Schema.from_arrow(schema),
                actions,
                partition_by=partition_by,
                description=f"{_FORMAT}{FORMAT_VERSION}",
                commit_properties=properties,
            )
            return 0
        self.check_schema(name, schema)
        table = self._open(name)
        table.create_write_transaction(
            [*actions, *(_remove_action(part) for part in removed)],
            "append",
            Schema.from_arrow(schema),
            partition_by=partition_by,
            commit_properties=properties,
        )
        table.update_incremental()
        return int(table.version())

    def commit_onto(
        self,
        name: str,
        version: int,
        parts: Sequence[Part],
        *,
        apps: Mapping[str, int],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Add parts to a version of a table, or to none: what was looked up in that version still holds.

        Args:
            name: The table, see ``ensure``.
            version: The newest one.
            parts: From ``write_part``.
            apps: Versions stored with the commit by application id; read back with ``committed``.
            metadata: Stored in the commit's history.

        Raises:
            ChangedMeanwhileError: There is a newer version; nothing was committed.
            NotWrittenError: The commit failed; ``committed`` says whether it did so before or after it held.
        """
        handle = self._open(name)
        if handle.version() != version:
            raise ChangedMeanwhileError(name)
        self._add(name, handle, parts, apps=apps, metadata=metadata, retries=0)

    def commit_beside(
        self, name: str, version: int, parts: Sequence[Part], *, apps: Mapping[str, int]
    ) -> None:
        """Add parts to a table, though others added theirs since a version, but not under the same ids.

        Args:
            name: The table, see ``ensure``.
            version: The one in which what is to be added was missing.
            parts: From ``write_part``.
            apps: Versions stored with the commit by application id; read back with ``committed``.

        Raises:
            ChangedMeanwhileError: Another commit under one of these ids came first; nothing was committed.
            NotWrittenError: The commit failed; ``committed`` says whether it did so before or after it held.
        """
        # On a handle of that version: Delta looks through all commits since then for the same ids.
        self._add(name, self._open(name, version), parts, apps=apps)

    def _add(
        self,
        name: str,
        handle: DeltaTable,
        parts: Sequence[Part],
        *,
        apps: Mapping[str, int],
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> None:
        try:
            handle.create_write_transaction(
                [_add_action(part) for part in parts],
                "append",
                handle.schema(),
                partition_by=handle.metadata().partition_columns or None,
                commit_properties=CommitProperties(
                    max_commit_retries=retries,
                    custom_metadata=dict(metadata or {}),
                    app_transactions=[Transaction(app, at) for app, at in apps.items()],
                ),
            )
        except CommitFailedError as error:
            if self._has_any(name, parts):
                return  # a store may lose its answer: the commit held, and was then refused as a second one
            raise ChangedMeanwhileError(name) from error
        except (DeltaError, OSError) as error:
            raise NotWrittenError(self.table_uri(name), str(error)) from error

    def _has_any(self, name: str, parts: Sequence[Part]) -> bool:
        ours = {part.path for part in parts}
        return any(part.path in ours for part in self.parts(name))

    def discard(self, name: str, parts: Iterable[Part]) -> None:
        """Delete parts that were not committed."""
        for part in parts:
            files, path = located(self.part_uri(name, part))
            with suppress(FileNotFoundError):
                files.delete_file(path)

    def vacuum(self, name: str, *, retention_d: int, dry_run: bool) -> list[str]:
        """Delete the files of a table that no version of so many days names; return them."""
        table = self._open(name)
        return list(table.vacuum(24 * retention_d, dry_run=dry_run, full=True))

    def compact(self, name: str) -> tuple[int, int]:
        """Rewrite the small files of each partition as few; return how many were removed and added.

        Raises:
            ChangedMeanwhileError: Others removed files of the table; nothing was committed.
        """
        as_ours = WriterProperties(compression="ZSTD", compression_level=1)
        try:
            done = self._open(name).optimize.compact(writer_properties=as_ours)
        except CommitFailedError as error:
            raise ChangedMeanwhileError(name) from error
        except (DeltaError, OSError) as error:
            raise NotWrittenError(self.table_uri(name), str(error)) from error
        return int(done["numFilesRemoved"]), int(done["numFilesAdded"])

    def checkpoint(self, name: str) -> None:
        """Sum up the table's history in one file, so that opening it needs no more than that."""
        self._open(name).create_checkpoint()

    def append(self, name: str, table: pa.Table, *, apps: Mapping[str, int] | None = None) -> int:
        """Write and commit a small table from the driver; the partition column decides its files."""
        parts = (
            self.write_parts(name, table)
            if PARTITION in table.column_names
            else [self.write_part(name, table)]
        )
        return self.commit(name, table.schema, parts, apps=apps)

    def append_next(self, name: str, table: pa.Table, *, app: str, number: int) -> None:
        """Append rows as version ``number`` of an application: of several writers, one comes first.

        Args:
            name: The table, without partitions; made where it is missing.
            table: The rows.
            app: Application id.
            number: One more than ``app_version``, or 1 for the first.

        Raises:
            ChangedMeanwhileError: The application is at another version than the one before; nothing was
                committed.
        """
        self.ensure(name, table.schema)
        part = self.write_part(name, table)
        version, reached = self.committed(name, [app])
        if reached.get(app, 0) != number - 1:
            raise ChangedMeanwhileError(name)
        self.commit_beside(name, version, [part], apps={app: number})

    def ensure(self, name: str, schema: pa.Schema) -> None:
        """Make an empty table unless it exists with these columns; others may be making it too.

        Raises:
            SchemaError: The table exists with other columns.
            NotWrittenError: The disk is full or fails.
        """
        if not self.exists(name):
            try:
                self.commit(name, schema, [])
            except (DeltaError, OSError) as error:
                if not self.exists(name):
                    raise NotWrittenError(self.table_uri(name), str(error)) from error
        self.check_schema(name, schema)

    def _make_folder(self) -> None:
        """Make the lake's folder, if it is a new one, for its owner alone."""
        if not is_remote(self.uri):
            Path(self.uri).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _open(self, name: str, version: int | None = None) -> DeltaTable:
        if not self.exists(name):
            raise TableNotFoundError(
                name, self.uri, _REMEDIES.get(name.split("_")[0], "run the job that writes it")
            )
        table = DeltaTable(self.table_uri(name), version=version)
        found = (table.metadata().description or "").removeprefix(_FORMAT)
        if found != str(FORMAT_VERSION):
            raise FormatVersionError(f"table {name}", found, FORMAT_VERSION)
        return table

    def check_schema(self, name: str, schema: pa.Schema) -> None:
        """Check that rows of a schema can be appended.

        Raises:
            SchemaError: Naming every column that differs.
        """
        present = {field.name: field.type for field in self.schema(name)}
        given = {field.name: field.type for field in schema}
        problems = [f"it has no column {column}" for column in given.keys() - present.keys()]
        problems += [f"column {column} is missing here" for column in present.keys() - given.keys()]
        problems += [
            f"column {column} is {present[column]}, not {given[column]}"
            for column in given.keys() & present.keys()
            if present[column] != given[column]
        ]
        if problems:
            raise SchemaError(f"table {name}", sorted(problems))


_REMEDIES: Mapping[str, str] = {
    "transactions": "run `fraud ingest` first",
    "labels": "ingest a source with labels first",
    "features": "run `fraud featurize` first",
    "scores": "run `fraud score` first",
}


def _plain(field: pa.Field) -> pa.Field:
    """Undo the view and large types the Delta reader may report."""
    kinds: dict[Any, pa.DataType] = {pa.large_string(): pa.string(), pa.string_view(): pa.string()}
    kind = field.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.field(field.name, pa.list_(_plain(kind.value_field).type), field.nullable)
    return pa.field(field.name, kinds.get(kind, kind), field.nullable)


def _repetitive_texts(table: pa.Table) -> list[str]:
    """The columns that are worth a dictionary: texts of which a sample repeats itself.

    Numbers are not: compression makes as little of them without one, in two thirds of the time.
    """
    sample = table.slice(table.num_rows // 2, 2_000)
    return [
        name
        for name in table.column_names
        if pa.types.is_string(sample.schema.field(name).type)
        and pc.count_distinct(sample.column(name)).as_py() <= max(1, sample.num_rows // 2)
    ]


def _times(table: pa.Table) -> list[str]:
    """The columns by whose bounds a reader leaves rows out; those of others are not worth writing."""
    return [field.name for field in table.schema if pa.types.is_timestamp(field.type)]


def _add_action(part: Part) -> AddAction:
    stats = json.dumps({"numRecords": part.rows})
    return AddAction(part.path, part.size, _partition(part), _now_ms(), data_change=True, stats=stats)


def _remove_action(part: Part) -> RemoveAction:
    return RemoveAction(
        part.path,
        data_change=True,
        deletion_timestamp=_now_ms(),
        size=part.size,
        partition_values=_partition(part),
    )


def _partition(part: Part) -> dict[str, str | None]:
    return {} if part.event_date is None else {PARTITION: part.event_date.isoformat()}


def _now_ms() -> int:
    return int(time.time() * 1000)
