"""Logging: our progress and everyone's warnings on stderr, configured only here."""

from __future__ import annotations

import logging
import sys
import warnings

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime"}
_NOISY = (
    "alembic",
    "fsspec",
    "mlflow",
    "optuna",
    "py4j",
    "ray",
    "ray.data",
    "ray.serve",
    "ray.train",
    "ray.tune",
    "urllib3",
    "xgboost_ray",
)


_LEAST = {
    # The plan and the end of every dataset; how far one is, it says every ten seconds.
    "ray.data._internal.execution.streaming_executor": logging.WARNING,
    # That bars are off.
    "ray.data._internal.progress": logging.ERROR,
    # That lists and objects in a dataset of a few rows are pickled.
    "ray.data._internal.tensor_extensions.arrow": logging.ERROR,
}
"""Ray Data resets the levels of its loggers when it is imported, but not their filters."""


def configure() -> None:
    """Send log records to stderr: ours from INFO on, other libraries' from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line("%(asctime)s %(levelname).1s %(name)s: %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("fraud", "tuning", "serve_app", "cluster"):
        logging.getLogger(package).setLevel(logging.INFO)
    quiet_libraries()
    # A library's advice to its own callers (deprecations, say) is no business of whoever runs a job.
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", FutureWarning)


def quiet_libraries() -> None:
    """Silence chatter below WARNING; again after an import, for Ray's libraries set their own levels then."""
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name, least in _LEAST.items():
        logger = logging.getLogger(name)
        if not any(isinstance(each, _Least) for each in logger.filters):
            logger.addFilter(_Least(least))


class _Least(logging.Filter):
    """Lets records pass from a level on."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self._level


class Line(logging.Formatter):
    """A constant message, followed by what ``extra=`` brought."""

    def format(self, record: logging.LogRecord) -> str:
        """Write ``message (rows=3 day=2024-01-01)`` on one line."""
        text = super().format(record)
        facts = [f"{name}={value}" for name, value in vars(record).items() if _is_fact(name)]
        if not facts or record.exc_info:
            return text
        return f"{text} ({' '.join(facts)})"


def _is_fact(name: str) -> bool:
    """Ray adds attributes of its own to every record, with an underscore before them."""
    return name not in _STANDARD and not name.startswith("_")
