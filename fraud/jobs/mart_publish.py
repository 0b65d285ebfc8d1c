"""Publish what is new in the lake into the mart: once, whole, and again without harm."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from fraud.address import parse
from fraud.errors import MartError
from fraud.jobs.mart_rows import mart_of, reader, versions
from fraud.mart.facts import PUBLICATION, SETTING
from fraud.mart.model import FORMAT_VERSION, Mart
from fraud.mart.table import Table
from fraud.settings import MartSettings
from fraud.storage.lake import Lake, Part
from fraud.storage.mart_postgres import MartPostgres, transaction

_STAGE_ROWS: Final = 1_000_000
"""Files of about so many rows are brought over before they are put in place."""


def run(
    lake: Lake, settings: MartSettings, *, label_maturity_d: int, base_currency: str, now: datetime
) -> dict[str, Any]:
    """Publish.

    Args:
        lake: The lake.
        settings: The database, and what may leave.
        label_maturity_d: Days; the views state it and follow it.
        base_currency: ISO 4217 code.
        now: Becomes the new rows' ``published_at``.

    Returns:
        ``added`` rows and the lake's ``versions`` by table, ``mart``, ``schema``, ``seconds``.

    Raises:
        TableNotFoundError: The lake has no transactions.
        ConfigError: There is no usable URI, or a column named in the settings is not in the lake.
        MartError: The database cannot be reached, goes away or refuses, or its mart is another one's.
    """
    started = time.perf_counter()
    uri = settings.uri.get_secret_value()
    address = str(parse(uri))
    mart = mart_of(lake, settings)
    pinned = versions(lake, mart)
    with transaction(uri, settings.schema_name) as database:
        _check(database, mart, address)
        for table in (*mart.tables, PUBLICATION):
            database.create(table)
        added = {
            fact.name: _publish(
                lake, database, mart, fact, version=pinned[fact.source], now=now, address=address
            )
            for fact in mart.facts
            if fact.source in pinned
        }
        _state(database, label_maturity_d, base_currency)
        # Last, for it keeps readers waiting until the commit.
        for view in mart.views:
            database.execute(view.create())
        database.grant(settings.reader_role)
    seconds = round(time.perf_counter() - started, 3)
    return {
        "mart": address,
        "schema": settings.schema_name,
        "added": added,
        "versions": pinned,
        "seconds": seconds,
    }


def _check(database: MartPostgres, mart: Mart, address: str) -> None:
    """See that what is there was made by this version of the program with these columns."""
    again = f"drop schema {database.schema}, or name another in mart.schema_name"
    if database.columns(SETTING.name):
        for (found,) in database.query(f"select format_version from {SETTING.name}"):
            if found != FORMAT_VERSION:
                raise MartError(address, f"it has format version {found}, not {FORMAT_VERSION}: {again}")
    for table in mart.tables:
        present = database.columns(table.name)
        if present and present != table.names:
            differing = ", ".join(sorted(set(present) ^ set(table.names))) or "their order"
            raise MartError(address, f"table {table.name} has other columns ({differing}): {again}")


def _publish(
    lake: Lake, database: MartPostgres, mart: Mart, fact: Table, *, version: int, now: datetime, address: str
) -> int:
    """Add the rows of the files that came since the version published last; return how many were new."""
    name, table_id = fact.source, lake.table_id(fact.source)
    last = database.query(
        f"select table_id, lake_version from {PUBLICATION.name} where table_name = $1",
        [name],
    )
    if last and last[0][0] != table_id:
        raise MartError(
            address, f"its {name} came from another lake: name another schema in mart.schema_name"
        )
    earlier = last[0][1] if last else None
    if earlier is not None and earlier >= version:
        return 0
    added = 0
    for parts in _groups(lake.parts_since(name, earlier, version=version)):
        with database.staged(reader(lake, fact, parts, now)) as rows:
            added += database.execute(fact.insert(rows))
            for fill in mart.fills(fact, rows):
                database.execute(fill)
    database.execute(f"delete from {PUBLICATION.name} where table_name = $1", [name])
    database.execute(
        f"insert into {PUBLICATION.name} values ($1, $2, $3, $4)",
        [name, table_id, version, now],
    )
    return added


def _groups(parts: Sequence[Part]) -> Iterator[list[Part]]:
    group: list[Part] = []
    for part in parts:
        group.append(part)
        if sum(each.rows for each in group) >= _STAGE_ROWS:
            yield group
            group = []
    if group:
        yield group


def _state(database: MartPostgres, label_maturity_d: int, base_currency: str) -> None:
    database.execute(f"delete from {SETTING.name}")
    database.execute(
        f"insert into {SETTING.name} values ($1, $2, $3)",
        [FORMAT_VERSION, label_maturity_d, base_currency],
    )
