"""What a published protocol leaves out of a test: the cards that were known to be compromised on the day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Final

import pyarrow as pa

from fraud import schema
from fraud.errors import SchemaError
from fraud.jobs.examples import CARD, days, labels_of, micros
from fraud.jobs.scored import day_numbers
from fraud.model import protocol as protocols
from fraud.model.truth import newest_labels
from fraud.storage.lake import Lake

EVERYTHING: Final = datetime.max.replace(tzinfo=UTC)
"""As of then, every label of the lake is known."""


def known_frauds(lake: Lake, versions: Mapping[str, int], *, protocol: str) -> pa.Table:
    """Return the labels of all frauds of the lake, with their cards.

    Args:
        lake: The lake.
        versions: From ``examples.pin``.
        protocol: Its name, for the message.

    Raises:
        SchemaError: The lake has no cards.
        NotEnoughDataError: It has no transactions.
    """
    columns = lake.schema(schema.TRANSACTIONS, version=versions[schema.TRANSACTIONS]).names
    if CARD not in columns:
        raise SchemaError(
            "table transactions",
            [f"protocol {protocol} needs the column {CARD}: map it, or do without the protocol"],
        )
    first, last = days(lake, versions)
    labels = labels_of(lake, versions, first=first, last=last, entities=[CARD])
    newest = newest_labels(labels, as_of_us=micros(EVERYTHING))
    return newest.filter(newest.column("is_fraud"))


def without_known(table: pa.Table, frauds: pa.Table, *, train_last: date) -> pa.Table:
    """Return the test rows of cards that nobody knew to be compromised on the row's day.

    Args:
        table: Examples, see ``examples.FIELDS``.
        frauds: From ``known_frauds``.
        train_last: The day after the last training day.
    """
    keep = protocols.unknown_cards(
        day_numbers(table.column(schema.PARTITION)),
        table.column(CARD).combine_chunks(),
        day_numbers(frauds.column("event_time").cast(pa.date32(), safe=False)),
        frauds.column(CARD).combine_chunks(),
        train_last=(train_last - date(1970, 1, 1)).days,
    )
    return table.filter(pa.array(keep))
