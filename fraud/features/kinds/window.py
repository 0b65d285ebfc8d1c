"""Statistics of an entity's past."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from fraud import schema
from fraud.features.facts import STATUS_TIME, Bools, Facts, Floats, Ints, text_number
from fraud.features.kind import Duration, Kind, Rows
from fraud.features.statistics import Stat
from fraud.features.window import duration_text

_OF_NUMBERS: Final = frozenset({"sum", "mean", "std", "min", "max"})
_OF_TEXTS: Final = frozenset({"distinct", "first_time"})
_OF_FRAUD: Final = frozenset({"count", "sum", "mean", "seconds_since_last"})
_STRICT: Final = frozenset({"seconds_since_last", "first_time"})
"""They never include the transaction itself."""


def _parse_entity(value: object) -> tuple[str, ...]:
    columns = (value,) if isinstance(value, str) else value
    if isinstance(columns, (list, tuple)) and 1 <= len(columns) <= 2:
        if all(isinstance(column, str) and column for column in columns) and len(set(columns)) == len(
            columns
        ):
            return tuple(columns)
    raise ValueError(
        f"{value!r} is no entity: write an id column such as card_id, or two such as [card_id, ip]"
    )


Entity = Annotated[tuple[str, ...], BeforeValidator(_parse_entity)]
"""One id column, or two."""


def _parse_where(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return tuple(
        (column, tuple(one) if isinstance(one, list) else (one,)) for column, one in sorted(value.items())
    )


Where = Annotated[tuple[tuple[str, tuple[str, ...]], ...], BeforeValidator(_parse_where)]


class Window(Kind):
    """Statistics of an entity's past; the edges are those of ``fraud.features.window``.

    ``window`` is an id column or a pair of them. ``of`` is ``amount`` (base currency, minor units), ``fraud``
    (1 where a fraud was known), a numeric attribute, or a text column for ``distinct`` and ``first_time``.
    ``where`` keeps the facts whose columns have one of the given values; without a condition on ``kind`` only
    purchases and verifications count. A status counts from its ``status_time`` on, never for the transaction
    itself. ``empty`` is what a window without values gives.
    """

    keyword: ClassVar[str] = "window"
    example: ClassVar[str] = "window: card_id\nof: amount\nstats: [count, mean]\nspans: [1d, 7d]"

    window: Entity
    of: str | None = Field(default=None, min_length=1)
    stats: tuple[Stat, ...] = Field(min_length=1)
    spans: tuple[Duration, ...] = Field(min_length=1)
    delay: Duration = 0
    include_self: bool = True
    where: Where = ()
    empty: float | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Window:
        asked = set(self.stats)
        if self.of is None and asked & (_OF_NUMBERS | {"distinct"}):
            one = sorted(asked & (_OF_NUMBERS | {"distinct"}))[0]
            raise ValueError(f"{one} needs of: a column, such as of: amount or of: fraud")
        if asked & _OF_NUMBERS and asked & _OF_TEXTS:
            raise ValueError(f"{self.of} is either a number or a text: write distinct and first_time apart")
        if self.of == "amount" and asked & _OF_TEXTS:
            raise ValueError("distinct and first_time are of a text column, such as of: terminal_id")
        if self.of == "fraud" and asked - _OF_FRAUD:
            raise ValueError(f"a window of fraud has {', '.join(sorted(_OF_FRAUD))}")
        if self.of == "fraud" and self.delay == 0:
            raise ValueError("a window of fraud needs a delay, such as delay: 7d: a label takes time")
        if self.of == "fraud" and self.where:
            raise ValueError(
                "a window of fraud takes no where: a label says nothing of the transaction's columns"
            )
        if self.delay and asked & _OF_TEXTS:
            raise ValueError("distinct and first_time have no delay: leave delay out")
        if 0 in self.spans:
            raise ValueError("a span is longer than nothing")
        return self

    @property
    def key(self) -> str:
        """The entity's name: its id columns joined by ``+``."""
        return "+".join(self.window)

    @property
    def names(self) -> tuple[str, ...]:
        """Statistic after statistic, span after span."""
        return tuple(self.name(stat, span) for stat in self.stats for span in self.spans)

    def name(self, stat: Stat, span: int) -> str:
        """The column of one statistic over one span, for example ``card_id_amount_mean_7d``."""
        valued = stat in _OF_NUMBERS | _OF_TEXTS or (self.of == "fraud" and stat != "count")
        parts = [*self.window, *([self.of] if self.of and valued else []), stat, duration_text(span)]
        if self.delay:
            parts += ["delay", duration_text(self.delay)]
        elif not self.include_self and stat not in _STRICT:
            parts.append("before")
        for column, values in self.where:
            parts += ["where", column, *values]
        return re.sub(r"\W", "_", "_".join(parts))

    def includes_self(self, stat: Stat) -> bool:
        """Whether a statistic's window holds the transaction itself."""
        return self.include_self and not self.delay and stat not in _STRICT and not self.on_status

    def holds_itself(self, name: str) -> bool:
        """Whether one of its features includes the transaction itself."""
        of = {self.name(stat, span): stat for stat in self.stats for span in self.spans}
        return self.includes_self(of[name])

    @property
    def on_status(self) -> bool:
        """Whether a status is asked for: it is known later than the transaction."""
        return any(column == "status" for column, _ in self.where)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of transactions that enter."""
        return dict(self.where).get("kind", schema.SCORED_KINDS)

    @property
    def of_number(self) -> str | None:
        """The numeric attribute whose values count."""
        valued = self.of not in (None, "amount", "fraud") and bool(_OF_NUMBERS & set(self.stats))
        return self.of if valued else None

    @property
    def of_text(self) -> str | None:
        """The text column whose values count."""
        return self.of if self.of not in (None, "amount", "fraud") and _OF_TEXTS & set(self.stats) else None

    @property
    def conditions(self) -> dict[str, tuple[str, ...]]:
        """The values that each text column of a fact may have, the kinds among them."""
        return {"kind": self.kinds, **{column: values for column, values in self.where if column != "kind"}}

    @property
    def windows(self) -> tuple[Window, ...]:
        """Itself."""
        return (self,)

    def counts(self, facts: Facts) -> Bools | None:
        """Which facts may enter, shape ``(n,)``; None where all may.

        A fact without a column ``kind`` is of a scored kind.
        """
        chosen: Bools | None = None
        for column, values in self.conditions.items():
            if column == "kind" and column not in facts.columns:
                continue
            numbers = np.array([text_number(value) for value in values], np.int64)
            fits = np.isin(facts.columns[column], numbers)
            chosen = fits if chosen is None else chosen & fits
        return chosen

    def known(self, facts: Facts) -> Ints:
        """From when on each fact may enter, shape ``(n,)``."""
        return np.maximum(facts.known_at, facts.columns[STATUS_TIME]) if self.on_status else facts.known_at

    def values(self, rows: Rows) -> dict[str, Floats]:
        """What an executor has computed."""
        return {name: rows.features[name] for name in self.names}

    def explain(self) -> dict[str, tuple[str, str]]:
        """Per statistic and span."""
        return {
            self.name(stat, span): self._explain(stat, span) for stat in self.stats for span in self.spans
        }

    def _explain(self, stat: Stat, span: int) -> tuple[str, str]:
        of = {"fraud": "known frauds", None: "value"}.get(self.of, f"`{self.of}`")
        last = "known fraud" if self.of == "fraud" else "transaction"
        said = {
            "count": "Transactions",
            "sum": f"Sum of {of}",
            "mean": "Share of known frauds" if self.of == "fraud" else f"Mean of {of}",
            "std": f"Population standard deviation of {of}",
            "min": f"Smallest {of}",
            "max": f"Largest {of}",
            "distinct": f"Different values of {of}",
            "seconds_since_last": f"Seconds since the last {last}",
            "first_time": f"1 where {of} was not seen before, else 0; by transactions"
            if self.of
            else "1 where there was none before, else 0; transactions",
        }[stat]
        until = f" that ends {duration_text(self.delay)} before the transaction" if self.delay else ""
        condition = "".join(f", {column} {' or '.join(values)}" for column, values in self.where)
        itself = ", itself included" if self.includes_self(stat) else ""
        entity = " and ".join(self.window)
        return (
            f"{said} of the same {entity} in the {duration_text(span)}{until}{condition}{itself}.",
            self._first(stat),
        )

    def _first(self, stat: Stat) -> str:
        empty = "missing" if self.empty is None else f"{self.empty:g}"
        itself = {"count": "1", "sum": "its value", "mean": "its value", "std": "0", "min": "its value",
                  "max": "its value", "distinct": "1"}  # fmt: skip
        if self.includes_self(stat):
            return itself[stat]
        return {"count": "0", "distinct": "0", "first_time": "1"}.get(stat, empty)

    def entry(self) -> dict[str, Any]:
        """With durations, the entity and the condition as they are written."""
        entry = super().entry()
        entry["window"] = self.window[0] if len(self.window) == 1 else list(self.window)
        entry["spans"] = [duration_text(span) for span in self.spans]
        if self.delay:
            entry["delay"] = duration_text(self.delay)
        if self.where:
            entry["where"] = {column: list(values) for column, values in self.where}
        return entry
