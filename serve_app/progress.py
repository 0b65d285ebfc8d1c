"""What is being built for a model that waits: a file beside the pointer, for whoever asks for readiness."""

from __future__ import annotations

from pathlib import Path

from serve_app.install import replace


def tell(pointer: Path, building: str | None) -> None:
    """Say what is being built, or None that nothing is."""
    if building is None:
        _file(pointer).unlink(missing_ok=True)
    else:
        replace(_file(pointer), building.encode())


def building(pointer: Path) -> str | None:
    """Return what is being built for a model that waits; None: nothing."""
    try:
        return _file(pointer).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _file(pointer: Path) -> Path:
    return pointer.with_name("building")
