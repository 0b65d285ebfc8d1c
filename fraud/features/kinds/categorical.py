"""A text of the transaction as a number."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
from pydantic import AfterValidator, Field

from fraud.features.facts import NO_TEXT, Floats, Ints, text_number
from fraud.features.kind import Kind, Rows, Text
from fraud.features.measure import Measure, Unit, code, words


def _check_values(values: tuple[str, ...]) -> tuple[str, ...]:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"{value} is there twice")
    return values


@lru_cache
def _sorted(values: tuple[str, ...]) -> tuple[Ints, Ints]:
    """The numbers of texts, and the order that sorts them."""
    numbers = np.array([text_number(value) for value in values], np.int64)
    return numbers, np.argsort(numbers)


class Categorical(Kind):
    """A text as its position in ``values``, from 0; any other text is their number, and none is missing."""

    keyword: ClassVar[str] = "categorical"
    example: ClassVar[str] = "categorical: channel\nvalues: [web, shop]"

    categorical: Text = Field(description="A column of texts.")
    values_: Annotated[tuple[str, ...], AfterValidator(_check_values)] = Field(
        min_length=1, alias="values", description="The texts that have a number of their own."
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The attribute's own name."""
        return (self.categorical,)

    @property
    def texts(self) -> tuple[str, ...]:
        """The attribute."""
        return (self.categorical,)

    def values(self, rows: Rows) -> dict[str, Floats]:
        """The position of each row's text."""
        numbers, order = _sorted(self.values_)
        text = rows.texts[self.categorical]
        place = order[np.minimum(np.searchsorted(numbers, text, sorter=order), len(numbers) - 1)]
        code = np.where(numbers[place] == text, place, len(numbers)).astype(np.float64)
        return {self.categorical: np.where(text == NO_TEXT, np.nan, code)}

    def measures(self, above: Mapping[str, Measure]) -> dict[str, Measure]:
        """The text itself."""
        choices = (*self.values_, "another")
        subject = words(self.categorical)
        return {self.categorical: Measure(code(self.categorical), subject, Unit.CHOICE, choices=choices)}

    def explain(self) -> dict[str, tuple[str, str]]:
        """The codes."""
        codes = ", ".join(f"{code} {value}" for code, value in enumerate(self.values_))
        said = f"`{self.categorical}` as a number: {codes}, {len(self.values_)} anything else."
        return {self.categorical: (said, "its number, or missing without one")}

    def entry(self) -> dict[str, object]:
        """With the key as it is written."""
        return {"categorical": self.categorical, "values": list(self.values_)}
