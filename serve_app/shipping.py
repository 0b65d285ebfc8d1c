"""The journal's way into the lake, done by the steward and counted."""

from __future__ import annotations

from pathlib import Path

from fraud.jobs.ship import Shipper
from fraud.storage import journal
from serve_app.telemetry import Telemetry


class Shipping:
    """Ships what is journalled, and knows how much is not shipped yet."""

    def __init__(self, shipper: Shipper, telemetry: Telemetry) -> None:
        self._shipper = shipper
        self._telemetry = telemetry
        self._shipped: dict[str, int] = {}

    def ship(self) -> None:
        """Make a pass; raises what ``Shipper.run`` raises."""
        found = _sizes(self._shipper.folder)
        try:
            report = self._shipper.run()
        except BaseException:
            self._telemetry.count("ship_failures")
            raise
        self._shipped = found
        self._telemetry.count("records_shipped", report["decisions"] + report["labels"] + report["shadow"])

    def waiting_bytes(self) -> int:
        """Return how much was journalled since the last pass that came through began."""
        sizes = _sizes(self._shipper.folder)
        return sum(max(0, size - self._shipped.get(name, 0)) for name, size in sizes.items())


def _sizes(folder: Path) -> dict[str, int]:
    sizes = {}
    for segment in journal.segments(folder):
        try:
            sizes[segment.stem] = segment.stat().st_size
        except FileNotFoundError:  # shipped and deleted
            continue
    return sizes
