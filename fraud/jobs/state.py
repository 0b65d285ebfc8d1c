"""Build the online state from the lake, as of a time: in threads, in bounded memory, without Ray.

Files are read and cut by range of entities into temporary files; range by range they are sorted and written
to the store in the order of its keys, which fills its pages. What journals say besides is replayed into it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fraud.features.layout import Layout
from fraud.features.packed import Packed
from fraud.features.past import MemoryPages, Past, entity_key, head_value
from fraud.features.spec import FeatureSet
from fraud.features.track import Track
from fraud.jobs.state_replay import Replay
from fraud.jobs.state_rows import ENTITY, scope_of
from fraud.jobs.state_spill import Spilled, spill
from fraud.storage.lake import Lake
from fraud.storage.state import LATE_US, create
from fraud.storage.state_keys import FORMAT_VERSION, IDS
from fraud.storage.state_place import building, put_in_place
from fraud.storage.state_store import Item


def build(
    lake: Lake,
    feature_sets: Sequence[FeatureSet],
    path: Path,
    *,
    as_of: datetime | None = None,
    journal: Path | None = None,
    besides: Layout | None = None,
) -> dict[str, Any]:
    """Write a new online state and put it in a place, where another may be in use.

    Processes that use the other one go on in the new one, which knows what was answered until then. A state
    as of a time knows nothing younger, neither of journals nor of the other state.

    Args:
        lake: Holds ``transactions`` and ``labels``.
        feature_sets: What the state will serve.
        path: The state's folder; the old one serves until the new one is complete.
        as_of: Transactions before it and labels before it are in the state; None takes everything.
        journal: The folder of the service's journal, for what it has and the lake has not yet.
        besides: What it keeps too, such as what the old one keeps.

    Returns:
        ``as_of``, ``transactions``, ``labels``, ``entities``, ``features_versions``, ``path``, ``seconds``;
        of the journal: ``replayed`` records, ``conflicts`` among them, ``damaged`` segments.

    Raises:
        TableNotFoundError: There are no transactions.
        SchemaError: The lake lacks a column that a window reads.
        StateBuiltElsewhereError: Another process builds for the same place.
        DiskFullError: The disk is too full.
    """
    started = time.monotonic()
    layout = Layout.of(feature_sets).with_all(besides)
    replay = Replay(journal if as_of is None else None)
    with building(path) as folder:
        scope = scope_of(lake, layout, late_us=LATE_US, as_of=as_of, version=FORMAT_VERSION)
        entities = dict.fromkeys(layout.keys, 0)
        with TemporaryDirectory(prefix=f"{folder.name}-", dir=path.parent) as parts:
            spilled = spill(scope, Path(parts), os.cpu_count() or 1)
            create(folder, scope.about, items=_items(spilled, entities), sources=scope.sources)
        replay.into(folder)
        put_in_place(folder, path, answers=as_of is None)
        # What was recorded, but not yet journalled, when the old state was left.
        replay.into(path)
    return {
        "as_of": time_text(scope.about.as_of_us),
        "transactions": spilled.transactions,
        "labels": spilled.labels,
        "entities": entities,
        "replayed": replay.records,
        "conflicts": replay.conflicts,
        "damaged": replay.damaged,
        "features_versions": [features.version for features in feature_sets],
        "path": str(path),
        "seconds": round(time.monotonic() - started, 3),
    }


def time_text(time_us: int) -> str:
    """Return a time in microseconds as text."""
    return str(np.datetime64(time_us, "us").astype("datetime64[s]")) + "+00:00"


def _items(spilled: Spilled, entities: dict[str, int]) -> Iterator[Item]:
    """All items of the state in the order of their keys; counts the entities."""
    for name, key in spilled.scope.about.layout.keys.items():
        for track in key.tracks:
            for rows in spilled.track(track):
                if track is key.transactions:
                    entities[name] += len(np.unique(rows[ENTITY]))
                yield from _pasts(track, rows)
    for ids in spilled.ids():
        yield from _ids(ids)


def _pasts(track: Track, rows: Packed) -> Iterator[Item]:
    """The items of whole entities from their ordered records."""
    if len(rows) == 0:
        return
    form, entity = track.format, np.ascontiguousarray(rows[ENTITY])
    begin = np.flatnonzero(np.append(True, entity[1:] != entity[:-1]))
    end = np.append(begin[1:], len(rows))
    late, wide = form.needs(rows)
    plain = form.cast(rows, 0)
    apart = np.logical_or.reduceat(late | wide, begin) | (end - begin >= 2 * track.chunk_rows(plain.dtype))
    header, stored, size = head_value(track, plain[:0]), plain.tobytes(), plain.dtype.itemsize
    runs = (entity[begin].tolist(), begin.tolist(), end.tolist(), apart.tolist())
    for number, first, last, is_apart in zip(*runs, strict=True):
        if is_apart:
            yield from _past(track, number, form.narrow(rows[first:last]))
        else:
            yield entity_key(track.number, number), header + stored[first * size : last * size]


def _past(track: Track, entity: int, rows: Packed) -> list[Item]:
    """The items of one entity, whose records are many or late or large."""
    pages = MemoryPages()
    past = Past(track, pages, entity)
    past.insert(rows)
    past.save()
    return sorted(pages.values.items())


def _ids(ids: Packed) -> Iterator[Item]:
    """The items of ordered ids."""
    keys = np.empty(len(ids), np.dtype([("space", "S1"), ("tie", ">i8")]))
    keys["space"], keys["tie"] = IDS, ids["tie"]
    names = [name for name in ids.dtype.names or () if name != "tie"]
    values = np.empty(len(ids), np.dtype([(name, "<i8") for name in names]))
    for name in names:
        values[name] = ids[name]
    return zip(_each(keys), _each(values), strict=True)


def _each(rows: Packed) -> Iterator[bytes]:
    stored, size = rows.tobytes(), rows.dtype.itemsize
    return (stored[begin : begin + size] for begin in range(0, len(stored), size))
