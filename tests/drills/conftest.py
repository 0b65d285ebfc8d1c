"""The drills' table, printed when all have run."""

from __future__ import annotations

import pytest
from serving import TABLE


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each bar: what was done, how often, what must hold, what was seen."""
    if not TABLE:
        return
    terminalreporter.section("drills")
    for row in TABLE:
        verdict = "met" if row.met else "NOT MET"
        terminalreporter.line(f"{row.drill:<32} {row.times:>5}  {row.bar:<44} {row.seen:>12}  {verdict}")
