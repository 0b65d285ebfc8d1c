"""Follow the lake: bring the facts of files that the online state has not read into it, each once.

Records are known by their place, so bringing one in again changes nothing: a pass that was cut short is
simply made again from the last version that was read whole. What the lake says of a transaction that the
endpoint recorded takes the record's place: a status or a time of knowledge may have come with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from fraud import schema
from fraud.errors import FraudError, StateMovedError, TableNotFoundError
from fraud.features.packed import Packed
from fraud.features.track import Track
from fraud.jobs.state_rows import ENTITY, Cut, Scope, after_everything, groups, label_sources, runs
from fraud.jobs.state_spill import GROUP_ROWS
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState

_ENTITIES_AT_ONCE: Final = 50
"""Written in one transaction of the store: a replica waits as long as it takes."""


def follow(lake: Lake, path: Path) -> dict[str, Any]:
    """Bring newly ingested transactions and labels into a state, and forget what no window reaches any more.

    Args:
        lake: Holds ``transactions`` and ``labels``.
        path: The state's folder; it may be in use.

    Returns:
        ``transactions`` that were not known, ``known`` ones, ``labels``, ``forgotten`` transactions,
        ``as_of``, ``transactions_version``, ``labels_version`` and ``seconds``.

    Raises:
        ConfigError: There is no state.
        TableNotFoundError: There are no transactions.
    """
    started = time.monotonic()
    while True:
        state = OnlineState.open(path)
        try:
            report = _follow(lake, state)
        except StateMovedError:
            continue  # what was written is of another layout, perhaps: all is done again in the new state
        finally:
            state.close()
        return {**report, "seconds": round(time.monotonic() - started, 3)}


def passes(lake: Lake, path: Path, every_s: float, tell: Callable[[str], None]) -> None:
    """Follow the lake again and again, until interrupted; what goes wrong is told, and tried again.

    Args:
        lake: To follow.
        path: The state's folder.
        every_s: Seconds between two passes.
        tell: Called with lines for a person.
    """
    while True:
        time.sleep(every_s)
        try:
            report = follow(lake, path)
        except FraudError as error:
            tell(f"not followed: {error}")
            continue
        if report["transactions"] or report["labels"]:
            tell(f"{report['transactions']} transactions and {report['labels']} labels by {report['as_of']}")


def _follow(lake: Lake, state: OnlineState) -> dict[str, Any]:
    version = lake.version(schema.TRANSACTIONS)
    if version is None:
        raise TableNotFoundError(schema.TRANSACTIONS, lake.uri, "run `fraud ingest` first")
    before = state.about
    now = msgspec.structs.replace(
        before,
        transactions_version=version,
        labels_version=lake.version(schema.LABELS),
        until_us=None,
        as_of_us=max(before.as_of_us, after_everything(lake, version)),
    )
    sources = state.add_sources(label_sources(lake, now.labels_version))
    old, new = Scope(lake, before, sources), Scope(lake, now, sources)
    transactions = known = labels = 0
    for cut in _news(old, new):
        for key in state.layout.keys.values():
            for track in key.tracks:
                for batch in _batches(track, cut.records.get(track.number), sources.rank()):
                    state.insert(track, batch)
        unknown = state.remember(cut.ids)
        transactions, known = transactions + unknown, known + len(cut.ids) - unknown
        labels += cut.labels
    forgotten = state.advance(now)
    return {
        "transactions": transactions,
        "known": known,
        "labels": labels,
        "forgotten": forgotten,
        "as_of": state.known_as_of().isoformat(),
        "transactions_version": now.transactions_version,
        "labels_version": now.labels_version,
    }


def _news(old: Scope, new: Scope) -> Iterator[Cut]:
    """The facts of ``new`` that are not of ``old``."""
    had, said = old.transaction_parts(), old.label_parts()
    if old.about.until_us is not None:
        # A state as of a time left the younger facts of these files out.
        yield from (new.transactions(parts, since=old.about.until_us) for parts in groups(had, GROUP_ROWS))
        yield from (new.labels(parts, since=old.about.until_us) for parts in groups(said, GROUP_ROWS))
    had_paths, said_paths = ({part.path for part in parts} for parts in (had, said))
    for parts in groups(new.transaction_parts(beside=had_paths), GROUP_ROWS):
        yield new.transactions(parts)
    for parts in groups(new.label_parts(beside=said_paths), GROUP_ROWS):
        yield new.labels(parts)


def _batches(track: Track, rows: Packed | None, rank: Any) -> Iterator[Mapping[int, Packed]]:
    """Records by entity, some entities at a time."""
    if rows is None or len(rows) == 0:
        return
    form = track.format
    order = form.order(rows, rank)
    rows = rows[order[np.argsort(rows[ENTITY][order], kind="stable")]]
    each = ((entity, form.narrow(own)) for entity, own in runs(rows))
    while batch := dict(islice(each, _ENTITIES_AT_ONCE)):
        yield batch
