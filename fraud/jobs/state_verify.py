"""Verify: the online state against a recomputation from the lake, entity by entity and id by id."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import numpy as np

from fraud.errors import StateError
from fraud.features.packed import Packed
from fraud.features.track import Track
from fraud.jobs.state_rows import Scope, label_sources, runs
from fraud.jobs.state_spill import Spilled, spill
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState

_SHOWN: Final = 3
"""Differences that are told; all are counted."""

T = TypeVar("T")
_Records = dict[tuple[int, ...], bytes]
"""By what tells them apart."""


def verify(lake: Lake, path: Path) -> dict[str, Any]:
    """Compare a state with what it should hold of the lake's versions that it has read.

    What only the state holds came by the endpoint and has not reached the lake: it is counted apart. The
    service may go on meanwhile; `fraud state follow` must not.

    Args:
        lake: Holds ``transactions`` and ``labels``.
        path: The state's folder.

    Returns:
        ``as_of``, ``transactions`` and ``labels`` compared, ``entities`` by name, ``only_in_state`` and
        ``seconds``.

    Raises:
        ConfigError: There is no state.
        StateError: They differ.
    """
    started = time.monotonic()
    state = OnlineState.open(path)
    try:
        names = label_sources(lake, state.about.labels_version)
        scope = Scope(lake, state.about, state.sources().with_names(names))
        with TemporaryDirectory(prefix="verify-", dir=path.parent) as folder:
            spilled = spill(scope, Path(folder), os.cpu_count() or 1)
            found = _Comparison(spilled, state)
            found.run()
        as_of = state.known_as_of()
    finally:
        state.close()
    if found.different:
        counts = ", ".join(f"{count} {what}" for what, count in sorted(found.different.items()))
        raise StateError(str(path), counts, found.shown)
    return {
        "as_of": as_of.isoformat(),
        "transactions": spilled.transactions,
        "labels": spilled.labels,
        "entities": dict(found.entities),
        "only_in_state": dict(found.only_in_state),
        "seconds": round(time.monotonic() - started, 3),
    }


class _Comparison:
    """The spilled facts of the lake beside a state, and how they differ."""

    def __init__(self, spilled: Spilled, state: OnlineState) -> None:
        self.entities: Counter[str] = Counter()
        self.only_in_state = Counter(transactions=0, labels=0)
        self.different: Counter[str] = Counter()
        self.shown: list[str] = []
        self._spilled = spilled
        self._state = state
        self._from_endpoint: set[int] = set()

    def run(self) -> None:
        """Compare everything."""
        self._compare_ids()
        for name, key in self._state.layout.keys.items():
            self.entities[name] = self._compare_track("transactions", key.transactions)
            if key.labels is not None:
                self._compare_track("labels", key.labels)

    def _compare_ids(self) -> None:
        oldest = self._spilled.scope.oldest(self._state.layout.history_us)
        expected = ((tie, tuple(known)) for rows in self._spilled.ids() for tie, *known in rows.tolist())
        found = ((tie, known) for tie, known in self._state.ids() if known.event_time >= oldest)
        for tie, said, known in _side_by_side(expected, found):
            if known is None:
                self._differ("ids", f"{tie} is not known")
            elif said is None and known.mark:
                self._from_endpoint.add(tie)
            elif said != (known.event_time, *known.entities):
                self._differ("ids", f"{tie} is known otherwise")
        self.only_in_state["transactions"] = len(self._from_endpoint)

    def _compare_track(self, what: str, track: Track) -> int:
        """Compare the entities of a track and return how many of them are in the lake."""
        form, oldest = track.format, self._spilled.scope.oldest(track.history_us)
        none = np.empty(0, form.widest)
        entities = 0
        expected = (run for rows in self._spilled.track(track) for run in runs(rows))
        for entity, said, kept in _side_by_side(expected, self._state.pasts(track)):
            entities += said is not None
            due = none if said is None else form.widen(said)
            found = none if kept is None else form.widen(kept[kept["event_time"] >= oldest])
            if due.tobytes() != found.tobytes():
                self._compare_records(what, entity, _by_identity(track, due), _by_identity(track, found))
        return entities

    def _compare_records(self, what: str, entity: int, due: _Records, found: _Records) -> None:
        for identity in sorted(due.keys() | found.keys()):
            if due.get(identity) == found.get(identity):
                continue
            if identity in due:
                how = "differs" if identity in found else "is missing"
                self._differ(what, f"{identity[1]} of entity {entity} {how}")
            elif what == "labels":
                self.only_in_state[what] += 1
            elif identity[1] not in self._from_endpoint:
                self._differ(what, f"{identity[1]} of entity {entity} is not in the lake")

    def _differ(self, what: str, how: str) -> None:
        self.different[what] += 1
        if len(self.shown) < _SHOWN:
            self.shown.append(f"{what} {how}")


def _by_identity(track: Track, rows: Packed) -> _Records:
    return {tuple(row[name].item() for name in track.format.identity): row.tobytes() for row in rows}


def _side_by_side(
    first: Iterable[tuple[int, T]], second: Iterable[tuple[int, Any]]
) -> Iterator[tuple[int, T | None, Any]]:
    """Join two streams that are ordered by their numbers without sign; None where one has nothing."""
    streams = [iter(first), iter(second)]
    heads: list[Any] = [next(stream, None) for stream in streams]
    while any(head is not None for head in heads):
        number = min((head[0] for head in heads if head is not None), key=lambda number: number % 2**64)
        row: list[Any] = [number]
        for place, head in enumerate(heads):
            is_here = head is not None and head[0] == number
            row.append(head[1] if is_here else None)
            if is_here:
                heads[place] = next(streams[place], None)
        yield row[0], row[1], row[2]
