"""A number of the transaction itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from fraud.features.facts import Floats
from fraud.features.kind import Kind, Number, Rows
from fraud.features.measure import Measure, code, unit_of, words


class Column(Kind):
    """A number of the transaction itself: ``amount`` (base currency, minor units) or a numeric attribute."""

    keyword: ClassVar[str] = "column"
    example: ClassVar[str] = "column: amount"

    column: Number = Field(description="`amount`, or a numeric attribute.")

    @property
    def names(self) -> tuple[str, ...]:
        """The column's own name."""
        return (self.column,)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The attribute, unless it is the amount."""
        return () if self.column == "amount" else (self.column,)

    def values(self, rows: Rows) -> dict[str, Floats]:
        """The column as it is."""
        return {self.column: rows.number(self.column)}

    def measures(self, above: Mapping[str, Measure]) -> dict[str, Measure]:
        """The column itself."""
        return {self.column: Measure(code(self.column), words(self.column), unit_of(self.column))}

    def explain(self) -> dict[str, tuple[str, str]]:
        """The column's name."""
        if self.column == "amount":
            return {"amount": ("The amount in minor units of the base currency.", "its amount")}
        return {self.column: (f"The attribute `{self.column}`.", "its value, or missing without one")}
