"""Stdout is for the one result of a command; whatever else is printed, by whomever, goes to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import Any, TextIO

_results: ContextVar[TextIO] = ContextVar("results")


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


def echo(report: Mapping[str, Any]) -> None:
    """Print a result as JSON: one line, or indented where a person reads it."""
    stream = _results.get(sys.stdout)
    text = json.dumps(report, indent=2 if stream.isatty() else None, ensure_ascii=False)
    print(text, file=stream, flush=True)
