"""A text of the transaction as a number."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from fraud.features.facts import NO_TEXT, Floats, text_number
from fraud.features.kind import Kind, Rows


class Categorical(Kind):
    """An attribute of text as its position in ``values``; any other value is ``len(values)``, none is NaN."""

    keyword: ClassVar[str] = "categorical"
    example: ClassVar[str] = "categorical: channel\nvalues: [web, shop]"

    categorical: str = Field(min_length=1)
    values_: tuple[str, ...] = Field(min_length=1, alias="values")

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
        numbers = np.array([text_number(value) for value in self.values_], np.int64)
        order = np.argsort(numbers)
        text = rows.texts[self.categorical]
        place = order[np.minimum(np.searchsorted(numbers, text, sorter=order), len(numbers) - 1)]
        code = np.where(numbers[place] == text, place, len(numbers)).astype(np.float64)
        return {self.categorical: np.where(text == NO_TEXT, np.nan, code)}

    def explain(self) -> dict[str, tuple[str, str]]:
        """The codes."""
        codes = ", ".join(f"{code} {value}" for code, value in enumerate(self.values_))
        said = f"The attribute `{self.categorical}` as a number: {codes}; {len(self.values_)} anything else."
        return {self.categorical: (said, "its code, missing where it has no value")}

    def entry(self) -> dict[str, object]:
        """With the key as it is written."""
        return {"categorical": self.categorical, "values": list(self.values_)}
