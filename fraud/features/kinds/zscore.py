"""How far a number lies from the entity's usual."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field

from fraud.features import loops
from fraud.features.facts import Floats
from fraud.features.kind import Duration, Kind, Number, Rows, Spans
from fraud.features.kinds.window import Entity, Window, period
from fraud.features.measure import Measure, Unit, code, this, unusual, words
from fraud.features.measure import period as in_words
from fraud.features.statistics import Stat
from fraud.features.window import duration_text


class Baseline(Window):
    """The strictly earlier transactions that a z-score compares with; its columns are no features."""

    def _name(self, stat: Stat, span: int) -> str:
        """Marked, so that it meets no declared feature."""
        return f"~{super()._name(stat, span)}"


class ZScore(Kind):
    """A value less the mean of the entity's strictly earlier ones, divided by their standard deviation.

    Missing where there is no earlier one, and where all were alike and ``floor`` is 0.
    """

    keyword: ClassVar[str] = "zscore"
    example: ClassVar[str] = "zscore: amount\nwindow: card_id\nspans: [7d, 30d]"

    zscore: Number = Field(description="`amount`, or a numeric attribute.")
    window: Entity = Field(description="An id column, or two of them as a list.")
    spans: Spans = Field(description="How long the baselines are, such as `30d`.")
    delay: Duration = Field(default=0, description="How long before the transaction a baseline ends.")
    floor: float = Field(
        default=0.0,
        ge=0.0,
        allow_inf_nan=False,
        description="The least deviation to divide by, in the value's units: minor units for `amount`.",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """``card_id_amount_zscore_7d``, span after span."""
        return tuple(self._name(span) for span in self.spans)

    def _name(self, span: int) -> str:
        parts = [*self.window, self.zscore, "zscore", duration_text(span)]
        return "_".join(parts + (["delay", duration_text(self.delay)] if self.delay else []))

    @property
    def numbers(self) -> tuple[str, ...]:
        """The attribute, unless it is the amount."""
        return () if self.zscore == "amount" else (self.zscore,)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The baseline: mean and std over strictly earlier transactions."""
        return (self._baseline,)

    @cached_property
    def _baseline(self) -> Baseline:
        return Baseline.model_construct(
            window=self.window,
            of=self.zscore,
            stats=("mean", "std"),
            spans=self.spans,
            delay=self.delay,
            include_self=False,
        )

    def values(self, rows: Rows) -> dict[str, Floats]:
        """The deviation in standard deviations."""
        value = rows.number(self.zscore)
        return {
            name: loops.zscores(value, rows.features[mean], rows.features[std], self.floor)
            for name, mean, std in self._columns
        }

    @cached_property
    def _columns(self) -> list[tuple[str, str, str]]:
        """The feature of each span with its mean and its standard deviation."""
        named = self._baseline.name
        return [(self._name(span), named("mean", span), named("std", span)) for span in self.spans]

    def measures(self, above: Mapping[str, Measure]) -> dict[str, Measure]:
        """The value, compared with the entity's usual: the code is that of a ratio of the two."""
        entity = code(*self.window)
        known = unusual(code(self.zscore), entity)
        usual = f"{words(self.zscore)} against the mean of {this(self.window)}"
        return {
            self._name(span): Measure(
                known, f"{usual} {in_words(span, self.delay)}, in standard deviations", Unit.RATIO
            )
            for span in self.spans
        }

    def explain(self) -> dict[str, tuple[str, str]]:
        """Per span."""
        return {
            self._name(span): (
                f"How many standard deviations `{self.zscore}` lies above the mean of the earlier "
                f"transactions of the same {' and '.join(self.window)} {period(span, self.delay)}.",
                "missing",
            )
            for span in self.spans
        }

    def entry(self) -> dict[str, Any]:
        """With durations and the entity as they are written."""
        entry = super().entry()
        entry["window"] = self.window[0] if len(self.window) == 1 else list(self.window)
        entry["spans"] = [duration_text(span) for span in self.spans]
        if self.delay:
            entry["delay"] = duration_text(self.delay)
        return entry
