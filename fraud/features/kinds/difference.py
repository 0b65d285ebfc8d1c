"""One feature less another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from fraud.features.facts import Floats
from fraud.features.kind import Kind, Rows, check_declared
from fraud.features.measure import Measure, Unit


class Difference(Kind):
    """One feature less another, both declared above; missing where either is."""

    keyword: ClassVar[str] = "difference"
    example: ClassVar[str] = "difference: amount\nminus: card_id_amount_mean_7d"

    difference: str = Field(description="A feature declared above.")
    minus: str = Field(description="Another, which is taken from it.")

    @property
    def names(self) -> tuple[str, ...]:
        """``amount_minus_card_id_amount_mean_7d``."""
        return (f"{self.difference}_minus_{self.minus}",)

    def check(self, above: Mapping[str, Kind]) -> None:
        """Both are declared above."""
        for name in (self.difference, self.minus):
            check_declared(name, above)

    def values(self, rows: Rows) -> dict[str, Floats]:
        """The difference."""
        return {self.names[0]: rows.features[self.difference] - rows.features[self.minus]}

    def measures(self, above: Mapping[str, Measure]) -> dict[str, Measure]:
        """The one, compared with the other."""
        one, other = above[self.difference], above[self.minus]
        unit = Unit.NUMBER if one.unit is Unit.CHOICE else one.unit
        return {self.names[0]: one.against(other, f"{one.subject} less {other.subject}", unit)}

    def explain(self) -> dict[str, tuple[str, str]]:
        """Which less which."""
        said = f"`{self.difference}` less `{self.minus}`."
        return {self.names[0]: (said, "missing where either is")}
