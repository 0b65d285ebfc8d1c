"""Replay: what journals say into an online state, each record once, in any order, as often as one likes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fraud.storage.journal_facts import Reading, Said, Seen
from fraud.storage.state import OnlineState


class Replay:
    """A journal on its way into states.

    Attributes:
        records: How many were replayed.
        conflicts: How many of them contradict the state.
    """

    def __init__(self, journal: Path | None) -> None:
        """Begin with the oldest segment of a journal, if there is one."""
        self.records = 0
        self.conflicts = 0
        self._reading = None if journal is None else Reading(journal)
        self._labels: list[Said] = []

    @property
    def damaged(self) -> list[str]:
        """Segments that could not be read to their end."""
        return [] if self._reading is None else sorted(self._reading.damaged)

    def into(self, path: Path) -> None:
        """Replay what was written since the last time into the state in a folder.

        Labels come last: the transaction may be in another process's segment.
        """
        state = OnlineState.open(path)
        try:
            self.conflicts += state.replay(self._seen())
            state.replay(self._labels)
        finally:
            state.close()

    def _seen(self) -> Iterator[Seen]:
        for fact in () if self._reading is None else self._reading.news():
            self.records += 1
            if isinstance(fact, Said):
                self._labels.append(fact)
            else:
                yield fact
