"""What leaves the lake for the mart: files of pinned versions, read one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow as pa

from fraud import schema
from fraud.mart.model import Mart, model
from fraud.mart.rows import arrow_schema, columns, leaving
from fraud.mart.table import Table
from fraud.settings import MartSettings
from fraud.storage.lake import Lake, Part


def mart_of(lake: Lake, settings: MartSettings) -> Mart:
    """Return the mart that this lake and these settings give.

    Raises:
        TableNotFoundError: The lake has no transactions.
        ConfigError: A column named in the settings is not in the lake.
    """
    return model(lake.schema(schema.TRANSACTIONS), settings.entities, settings.attributes)


def versions(lake: Lake, mart: Mart) -> dict[str, int]:
    """Return the newest version of each table there is, taken in the facts' order.

    So what a fact refers to is there: transactions are looked at last.
    """
    found = {fact.source: lake.version(fact.source) for fact in mart.facts}
    return {name: version for name, version in found.items() if version is not None}


def reader(
    lake: Lake, fact: Table, parts: Sequence[Part], published_at: datetime | None
) -> pa.RecordBatchReader:
    """Return the rows of files as the mart has them; one file is in memory at a time."""

    def batches() -> Iterator[pa.RecordBatch]:
        for part in parts:
            rows = lake.read_part(fact.source, part, columns(fact))
            yield from leaving(rows, fact, published_at).to_batches(max_chunksize=100_000)

    return pa.RecordBatchReader.from_batches(arrow_schema(fact), batches())
