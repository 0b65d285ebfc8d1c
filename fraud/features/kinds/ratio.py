"""One feature over another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from fraud.features import loops
from fraud.features.facts import Floats
from fraud.features.kind import Kind, Rows, check_declared
from fraud.features.kinds.window import Window
from fraud.features.measure import Measure, Unit


class Ratio(Kind):
    """One feature over another, both declared above; missing where either is, and where the other is 0.

    The other is a baseline: where it is a window, it leaves the transaction itself out, by
    ``include_self: false`` or by a delay.
    """

    keyword: ClassVar[str] = "ratio"
    example: ClassVar[str] = "ratio: amount\nto: card_id_amount_mean_7d_before"

    ratio: str = Field(description="A feature declared above.")
    to: str = Field(description="Another, by which it is divided.")

    @property
    def names(self) -> tuple[str, ...]:
        """``amount_to_card_id_amount_mean_7d_before``."""
        return (f"{self.ratio}_to_{self.to}",)

    def check(self, above: Mapping[str, Kind]) -> None:
        """Both are declared above, and the baseline is strictly earlier."""
        for name in (self.ratio, self.to):
            check_declared(name, above)
        baseline = above[self.to]
        if isinstance(baseline, Window) and baseline.holds_itself(self.to):
            raise ValueError(
                f"{self.to} includes the transaction itself: declare that window with include_self: false"
            )

    def values(self, rows: Rows) -> dict[str, Floats]:
        """The quotient."""
        return {self.names[0]: loops.quotients(rows.features[self.ratio], rows.features[self.to])}

    def measures(self, above: Mapping[str, Measure]) -> dict[str, Measure]:
        """The one, compared with the other."""
        one, other = above[self.ratio], above[self.to]
        return {self.names[0]: one.against(other, f"{one.subject} relative to {other.subject}", Unit.RATIO)}

    def explain(self) -> dict[str, tuple[str, str]]:
        """Which over which."""
        said = f"`{self.ratio}` divided by `{self.to}`."
        return {self.names[0]: (said, "missing where either is, or the latter is 0")}
