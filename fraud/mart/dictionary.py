"""The data dictionary in ``docs/mart.md``, written from the definition."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fraud import schema
from fraud.mart import facts
from fraud.mart.model import model
from fraud.mart.table import Column

HEADING: Final = "## Data dictionary\n"
"""What stands below it in the page is written by ``main``."""


def dictionary() -> str:
    """Return every table and view with its columns, for the entities that leave by default."""
    mart = model(schema.transactions(("terminal_id",), {}), ("terminal_id",), ())
    tables = [
        _section(
            table.name, table.grain, table.columns, f"Key: {', '.join(f'`{name}`' for name in table.key)}."
        )
        for table in (*mart.tables, facts.PUBLICATION)
    ]
    views = [_section(view.name, view.grain, view.columns, "A view.") for view in mart.views]
    return "\n".join([*tables, *views])


def page(text: str) -> str:
    """Return the page with its dictionary written anew."""
    return text[: text.index(HEADING) + len(HEADING)] + "\n" + dictionary()


def _section(name: str, grain: str, columns: Iterable[Column], remark: str) -> str:
    rows = "".join(f"| `{each.name}` | {each.type} | {each.meaning} | {each.adds} |\n" for each in columns)
    head = "| column | type | meaning | adds up |\n|---|---|---|---|\n"
    return f"### {name}\n\nOne row is {grain}. {remark}\n\n{head}{rows}"


def main(file: str) -> None:
    """Write the dictionary of a page anew."""
    Path(file).write_text(page(Path(file).read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
