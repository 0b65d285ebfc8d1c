"""Statistics of an entity's past."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from fraud import schema
from fraud.features.facts import STATUS_TIME, Bools, Facts, Floats, Ints, text_number
from fraud.features.kind import Attribute, Duration, Kind, Rows, Spans, check_text
from fraud.features.measure import Measure, of_statistic
from fraud.features.measure import period as in_words
from fraud.features.statistics import Stat
from fraud.features.window import duration_text

_OF_NUMBERS: Final = frozenset({"sum", "mean", "std", "min", "max"})
_OF_TEXTS: Final = frozenset({"distinct", "first_time"})
_OF_FRAUD: Final = frozenset({"count", "sum", "mean", "seconds_since_last"})
_STRICT: Final = frozenset({"seconds_since_last", "first_time"})
"""They never include the transaction itself."""


def _parse_entity(value: object) -> tuple[str, ...]:
    columns = value if isinstance(value, list | tuple) else [value]
    names = {column for column in columns if isinstance(column, str) and column}
    if not 1 <= len(names) == len(columns) <= 2:
        raise ValueError(
            f"{value!r} is no entity: write an id column such as card_id, or two such as [card_id, ip]"
        )
    return tuple(check_text(str(column)) for column in columns)


Entity = Annotated[tuple[str, ...], BeforeValidator(_parse_entity)]
"""One id column, or two."""


def _parse_where(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError(  # noqa: TRY004
            f"{value!r} is no condition: write a column and its values, such as {{channel: [web]}}"
        )
    conditions = {column: one if isinstance(one, list) else [one] for column, one in value.items()}
    for column, values in conditions.items():
        _check_condition(column, values)
    return tuple((column, tuple(values)) for column, values in sorted(conditions.items()))


def _check_condition(column: object, values: list[object]) -> None:
    for text in (column, *values):
        if not isinstance(text, str):
            raise ValueError(f"YAML reads {json.dumps(text, default=str)} there: write a text, in quotes")  # noqa: TRY004
    if column != "status":
        check_text(str(column))
    if not values:
        raise ValueError(f"{column} has no value: name one, or leave the condition out")
    if column == "kind" and (unknown := set(values) - set(schema.KINDS)):
        raise ValueError(f"{min(map(str, unknown))} is no kind: they are {', '.join(schema.KINDS)}")


Where = Annotated[tuple[tuple[str, tuple[str, ...]], ...], BeforeValidator(_parse_where)]


def period(span: int, delay: int) -> str:
    """The window in words: ``in the last 7d``."""
    if not delay:
        return f"in the last {duration_text(span)}"
    return f"in the {duration_text(span)} that ended {duration_text(delay)} before"


class Window(Kind):
    """Statistics of an entity's past.

    Without a condition on ``kind`` only purchases and verifications count. A status counts from its
    ``status_time`` on, and never for the transaction itself. A window of fraud has a delay and no ``where``;
    ``distinct`` and ``first_time`` have no delay.
    """

    keyword: ClassVar[str] = "window"
    example: ClassVar[str] = "window: card_id\nof: amount\nstats: [count, mean]\nspans: [1d, 7d]"

    window: Entity = Field(description="An id column, or two of them as a list.")
    of: Attribute | None = Field(
        default=None,
        description="`amount`, `fraud`, a numeric attribute, or a column of texts for `distinct` and "
        "`first_time`.",
    )
    stats: tuple[Stat, ...] = Field(min_length=1, description="What to say, see the statistics.")
    spans: Spans = Field(description="How long the windows are, such as `7d`.")
    delay: Duration = Field(default=0, description="How long before the transaction they end.")
    include_self: bool = Field(
        default=True, description="Whether a window without delay holds the transaction itself."
    )
    where: Where = Field(
        default=(),
        description="Which transactions count: a column and its values, such as `{kind: [refund]}`.",
    )
    empty: float | None = Field(
        default=None, allow_inf_nan=False, description="What a window without values gives."
    )

    @model_validator(mode="after")
    def _is_possible(self) -> Window:
        asked = set(self.stats)
        if self.of is None and asked & (_OF_NUMBERS | {"distinct"}):
            one = sorted(asked & (_OF_NUMBERS | {"distinct"}))[0]
            such = "terminal_id" if one == "distinct" else "amount"
            raise ValueError(f"{one} needs to know of what: write of: and a column, such as of: {such}")
        if asked & _OF_NUMBERS and asked & _OF_TEXTS:
            raise ValueError(f"{self.of} is either a number or a text: write distinct and first_time apart")
        if self.of == "amount" and asked & _OF_TEXTS:
            raise ValueError("distinct and first_time are of a column of texts, such as of: terminal_id")
        if self.of in ("kind", *self.window) and asked & _OF_NUMBERS:
            raise ValueError(f"{self.of} is a text: it has {', '.join(sorted(_OF_TEXTS))}")
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
        return self

    @property
    def key(self) -> str:
        """The entity's name: its id columns joined by ``+``."""
        return "+".join(self.window)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Statistic after statistic, span after span."""
        return tuple(self.name(stat, span) for stat in self.stats for span in self.spans)

    def name(self, stat: Stat, span: int) -> str:
        """The column of one statistic over one span, for example ``card_id_amount_mean_7d``."""
        return self._named[stat, span]

    @cached_property
    def _named(self) -> dict[tuple[Stat, int], str]:
        return {(stat, span): self._name(stat, span) for stat in self.stats for span in self.spans}

    def _name(self, stat: Stat, span: int) -> str:
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
        """Whether a statistic's window may hold the transaction itself."""
        scored = not set(self.kinds).isdisjoint(schema.SCORED_KINDS)
        return self.include_self and scored and not self.delay and stat not in _STRICT and not self.on_status

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

    def measures(self, above: Mapping[str, Measure]) -> dict[str, Measure]:
        """Per statistic and span."""
        return {
            self.name(stat, span): of_statistic(
                stat,
                entity=self.window,
                of=self.of,
                conditions=[value for _, values in self.where for value in values],
                when=in_words(span, self.delay),
            )
            for stat in self.stats
            for span in self.spans
        }

    def explain(self) -> dict[str, tuple[str, str]]:
        """Per statistic and span."""
        return {
            self.name(stat, span): self._explain(stat, span) for stat in self.stats for span in self.spans
        }

    def _explain(self, stat: Stat, span: int) -> tuple[str, str]:
        conditions = [f"{column} {' or '.join(values)}" for column, values in self.where]
        condition = f" with {' and '.join(conditions)}" if conditions else ""
        itself = ", itself included" if self.includes_self(stat) else ""
        those = f"of the same {' and '.join(self.window)} {period(span, self.delay)}"
        earlier = "" if self.delay or self.includes_self(stat) else "earlier "
        transactions = f"{earlier}transactions{condition} {those}"
        said = {
            "count": f"Number of {transactions}",
            "sum": f"Sum of `{self.of}` over the {transactions}",
            "mean": f"Mean of `{self.of}` over the {transactions}",
            "std": f"Population standard deviation of `{self.of}` over the {transactions}",
            "min": f"Smallest `{self.of}` of the {transactions}",
            "max": f"Largest `{self.of}` of the {transactions}",
            "distinct": f"Number of different `{self.of}` among the {transactions}",
            "seconds_since_last": f"Seconds since the last of the {transactions}",
            "first_time": f"1 where none of the {transactions} has the same `{self.of}`, else 0"
            if self.of_text
            else f"1 where there are no {transactions}, else 0",
        }
        of_fraud = {
            "sum": f"Number of known frauds {those}",
            "mean": f"Number of known frauds over the number of transactions {those}",
            "seconds_since_last": f"Seconds since the last known fraud {those}",
        }
        sentence = (said | of_fraud if self.of == "fraud" else said)[stat]
        return f"{sentence}{itself}.", self._first(stat)

    def _first(self, stat: Stat) -> str:
        without = "0" if stat in {"count", "distinct"} else self._empty
        if stat == "first_time":
            return f"1, or missing without `{self.of}`" if self.of_text else "1"
        itself = {"count": "1", "distinct": "1", "std": "0"}.get(stat, "its value")
        if not self.includes_self(stat) or itself == without:
            return without
        conditions = []
        if self.of_number or self.of_text:
            conditions += [f"without `{self.of}`"] if stat != "count" else []
        if self.where:
            conditions += ["where it does not count"]
        return f"{itself}, or {without} {' or '.join(conditions)}" if conditions else itself

    @property
    def _empty(self) -> str:
        return "missing" if self.empty is None else f"{self.empty:g}"

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
