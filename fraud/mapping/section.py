"""What the sections of a mapping file share: they are frozen, and refuse keys they do not know."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Section(BaseModel):
    """A part of a mapping file; a number where text is meant is the text it shows."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


def _value_text(value: object) -> object:
    # YAML reads `true` and `no` as booleans; a source's text is what is meant.
    return str(value).lower() if isinstance(value, bool) else value


Value = Annotated[str, BeforeValidator(_value_text)]
"""A value as the source writes it."""
