"""What a replica logs goes into Serve's log file of it, a JSON object a line."""

from __future__ import annotations

import logging
from typing import Final

_SERVE: Final = logging.getLogger("ray.serve")
_OURS: Final = ("fraud", "serve_app")


class _ToServe(logging.Handler):
    """Passes records to the handlers of Serve's logger, whatever level Serve itself logs from."""

    def emit(self, record: logging.LogRecord) -> None:
        _SERVE.handle(record)
        for handler in _SERVE.handlers:
            handler.flush()  # in its throughput mode Serve keeps a thousand records back


def attach() -> None:
    """Send what this process's own code logs, from INFO on, to Serve's log file.

    Serve sets up its own logger and no other, and takes standard error for itself: without this, what others
    log is lost.
    """
    for package in _OURS:
        logger = logging.getLogger(package)
        logger.handlers = [_ToServe()]
        logger.propagate = False
        logger.setLevel(logging.INFO)
