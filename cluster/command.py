"""What every command is: its report goes to stdout as JSON, whatever else is printed goes to stderr."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import Any, TextIO

import typer

Report = dict[str, Any]

_results: ContextVar[TextIO] = ContextVar("results")


def command(app: typer.Typer, **options: Any) -> Callable[[Callable[..., Report | None]], Any]:
    """Register a command: it loads the settings, connects, calls one function and returns a report."""

    def register(function: Callable[..., Report | None]) -> Any:
        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            with results_only():
                report = function(**arguments)
                if report is not None:
                    echo(report)

        return app.command(**options)(run)

    return register


@contextmanager
def results_only() -> Iterator[None]:
    """Keep stdout for ``echo``: Ray relays its workers' output there, and Train and Tune print tables."""
    sys.stdout.flush()
    kept = os.dup(1)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stream:
        token = _results.set(stream)
        os.dup2(2, 1)
        try:
            with redirect_stdout(sys.stderr):
                yield
        finally:
            _results.reset(token)
            os.dup2(kept, 1)
            os.close(kept)


def echo(report: Report) -> None:
    """Print a result as JSON: one line, or indented where a person reads it."""
    stream = _results.get(sys.stdout)
    text = json.dumps(report, indent=2 if stream.isatty() else None, ensure_ascii=False)
    print(text, file=stream, flush=True)


def write(text: str) -> None:
    """Print a result that is a file of its own, as it is."""
    print(text, file=_results.get(sys.stdout), end="", flush=True)


def tell(line: str) -> None:
    """Show a person how far a command is."""
    print(line, file=sys.stderr, flush=True)
