"""What made a model: the versions of the code and of the libraries."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Final

_LIBRARIES: Final = ("ray", "xgboost", "numpy", "pyarrow", "scikit-learn")
_CHECKOUT: Final = Path(__file__).resolve().parents[2] / ".git"


def libraries() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide what a model is."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _LIBRARIES}}


def code_version() -> str:
    """Return the commit of the checkout this runs from, or the installed version."""
    head = _CHECKOUT / "HEAD"
    if not head.is_file():
        return metadata.version("ray-fraud")
    name = head.read_text(encoding="utf-8").strip()
    if not name.startswith("ref: "):
        return name
    ref = _CHECKOUT / name.removeprefix("ref: ")
    return ref.read_text(encoding="utf-8").strip() if ref.is_file() else metadata.version("ray-fraud")
