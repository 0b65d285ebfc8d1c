"""Processes to be killed: forked from one that has imported what they run, as a start costs seconds."""

from __future__ import annotations

import multiprocessing
import os
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from unittest.mock import patch

_MODULES = ["ship_killed", "score_killed"]


@cache
def processes() -> ForkServerContext:
    """Return the context to make them in; the process they are forked from is started with it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_MODULES)
    # The path that pytest has set is not handed on.
    with patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parent)):
        forkserver.ensure_running()
    return context
