"""What a mapping may expect of its data: of every row, and of a batch as a whole.

Columns go by their names in the lake; ``amount`` is the amount in major units of the row's currency.
A row that breaks an expectation is refused. A batch that breaks one is stopped, and nothing of it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field, model_validator

from fraud import schema
from fraud.mapping.section import Section, Value
from fraud.mapping.yaml_file import close_match
from fraud.money import EXPONENTS

AMOUNT: Final = "amount"
"""The range of this name holds for the size of the amount, whatever its sign in the source."""

_STATUSES: Final = ("approved", "declined", "reversed")
_OWN_VALUES: Final[Mapping[str, Sequence[str]]] = {
    "currency": tuple(EXPONENTS),
    "kind": schema.KINDS,
    "status": _STATUSES,
}

Share = Annotated[float, Field(ge=0, le=1)]
Bound = Annotated[float, Field(allow_inf_nan=False)]


class Range(Section):
    """Both ends belong to it; a row without a value is in every range."""

    min: Bound | None = None
    max: Bound | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("state min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


class Volume(Section):
    """Rows of a day after the batch, over the median of its weekday in the weeks before in the lake.

    A day is that of UTC. A weekday without rows says nothing, and a day is judged only where ``min_weeks``
    of its weekdays are known.
    """

    min_ratio: float | None = Field(default=None, ge=0, le=1)
    max_ratio: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    weeks: int = Field(default=8, ge=1, le=104, description="How many weeks back the median looks.")
    min_weeks: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _usable(self) -> Volume:
        if self.min_ratio is None and self.max_ratio is None:
            raise ValueError("state min_ratio, max_ratio or both")
        if self.min_weeks > self.weeks:
            raise ValueError(f"min_weeks {self.min_weeks} is above weeks {self.weeks}")
        return self


class Expect(Section):
    """The section ``expect`` of a mapping of transactions."""

    ranges: dict[str, Range] = Field(default_factory=dict)
    domains: dict[str, tuple[Value, ...]] = Field(
        default_factory=dict, description="Allowed values; a row without a value is allowed."
    )
    not_in_future_s: float | None = Field(
        default=None, ge=0, le=31_536_000, description="How far an event may lie after the ingest."
    )
    max_null_share: dict[str, Share] = Field(default_factory=dict)
    max_duplicate_share: Share | None = Field(
        default=None, description="Of rows whose transaction_id an earlier row of the batch has."
    )
    freshness_s: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="How old the newest event may be at ingest."
    )
    volume: Volume | None = None

    def refuse_unknown(
        self, *, numbers: Iterable[str], categories: Iterable[str], nullable: Iterable[str]
    ) -> None:
        """Check the names it uses, and the values of columns whose values are the lake's own.

        Args:
            numbers: Attributes that are numbers.
            categories: Columns of text that may have a domain, besides currency and kind.
            nullable: Columns that may lack a value.

        Raises:
            ValueError: A column is unknown or of another type, or a value can never come up.
        """
        _refuse("ranges.", "no column of numbers", self.ranges, [AMOUNT, *numbers])
        _refuse("domains.", "no column of categories", self.domains, ["currency", "kind", *categories])
        _refuse("max_null_share.", "no column that may be null", self.max_null_share, [*nullable])
        for column, allowed in self.domains.items():
            if column in _OWN_VALUES:
                _refuse(f"domains.{column}: ", "never a value of it", allowed, _OWN_VALUES[column])


def _refuse(place: str, problem: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            guess = close_match(name, known) or (f"; known here: {', '.join(known[:8])}" if known else "")
            raise ValueError(f"{place}{name} is {problem}{guess}")
