"""One line out of what a lost worker left behind."""

from __future__ import annotations

from collections.abc import Sequence

_COLLATERAL = "XGBoostError"
"""What the others say whose collective broke when a worker was lost."""


def reason(errors: Sequence[BaseException]) -> str:
    """Return what went wrong, in one line without a full stop.

    Args:
        errors: Of the workers, at least one; a broken collective is told only where nothing else is.
    """
    texts = sorted(map(str, errors), key=lambda text: _COLLATERAL in text)
    return _line(texts[0]).strip("- ").rstrip(".:")


def _line(text: str) -> str:
    said = [
        line
        for line in text.splitlines()
        if line.strip() and not line.startswith((" ", "Traceback", "Stack trace", "The above exception"))
    ]
    if not said:
        return text.strip()
    return said[-1] if "Traceback" in text else said[0]
