"""The whole mart: every table and view, for the columns that may leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from fraud.errors import ConfigError
from fraud.mart import facts
from fraud.mart.table import ARROW_TYPES, Dimension, Table, View
from fraud.mart.views import views

FORMAT_VERSION: Final = 1
"""Of the mart's tables and views; another one in a database is refused."""

_SQL_TYPES: Final = {kind: name for name, kind in ARROW_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Mart:
    """What the mart holds.

    Attributes:
        facts: Filled from the lake, in an order that a fact comes before what it refers to.
        dimensions: Filled from the facts.
        views: Each after those it reads.
    """

    facts: tuple[Table, ...]
    dimensions: tuple[Dimension, ...]
    views: tuple[View, ...]

    @property
    def tables(self) -> Iterator[Table]:
        """All tables."""
        yield from self.facts
        yield from (dimension.table for dimension in self.dimensions)
        yield facts.SETTING

    def fills(self, fact: Table, rows: str) -> Iterator[str]:
        """The statements that add what rows of a fact refer to."""
        yield from (each.fill(fact, rows) for each in self.dimensions if fact in each.facts)


def model(transactions: pa.Schema, entities: Sequence[str], attributes: Sequence[str]) -> Mart:
    """Return the mart of a lake.

    Args:
        transactions: The schema of the lake's ``transactions``.
        entities: Columns of entity ids that may leave.
        attributes: Columns of the mapping that may leave.

    Raises:
        ConfigError: The lake has no such column, or one that the mart has by another name or right.
    """
    _check(transactions, "mart.entities", entities)
    _check(transactions, "mart.attributes", attributes)
    kinds = {name: _SQL_TYPES[transactions.field(name).type] for name in attributes}
    fact = facts.transaction(tuple(entities), kinds)
    return Mart(
        facts=(facts.ALERT, facts.LABEL, facts.DECISION, facts.SCORE, fact),
        dimensions=facts.dimensions(fact, tuple(entities)),
        views=views(fact),
    )


def _check(transactions: pa.Schema, setting: str, names: Sequence[str]) -> None:
    own = {*facts.transaction((), {}).names, "tie", "ingest_id"}
    offered = [name for name in transactions.names if name not in own]
    for name in names:
        if name not in offered:
            has = ", ".join(offered) or "none"
            raise ConfigError(
                setting, f"the lake's transactions have no column {name} to publish; they have {has}"
            )
