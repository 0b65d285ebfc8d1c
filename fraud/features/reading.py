"""What to read of entities' pasts for the windows of a feature set: the plan of ``fraud.features.walk``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

import numpy as np

from fraud.features import walk
from fraud.features.facts import STATUS_TIME, Floats, Ints, text_number
from fraud.features.kinds.window import Window
from fraud.features.layout import KeyLayout, Layout, number_of
from fraud.features.packed import AMOUNT, KNOWN_AT
from fraud.features.past import Past
from fraud.features.spec import FeatureSet
from fraud.features.statistics import PARTS, Stat
from fraud.features.track import Track

_STATS: Final[tuple[Stat, ...]] = get_args(Stat)
_UNIT: Final = 2.0**-20
"""Of a numeric attribute in whole numbers."""
_NO_TABLE: Final = np.frombuffer(bytes(8), np.int64)


class TrackOf(NamedTuple):
    """A track of an entity.

    Attributes:
        entity: Its name.
        is_of_labels: Or of the transactions.
    """

    entity: str
    is_of_labels: bool


class Reading:
    """The windows of a feature set, ready to be read from a state of a layout.

    Attributes:
        names: The feature set's features, then the windows that are none themselves.
        tracks: What is read.
        texts: The columns whose text of the transaction itself is asked for.
    """

    def __init__(self, feature_set: FeatureSet, layout: Layout) -> None:
        rows = _Rows(feature_set.names)
        for name, windows in feature_set.keys.items():
            for window in windows:
                rows.add(name, window, layout.keys[name])
        self.names = tuple(rows.names)
        self.tracks = tuple(rows.tracks)
        self.texts = tuple(rows.own)
        self._plan = rows.plan()

    def read(self, pasts: Sequence[Past | None], asker: walk.Asker, features: Floats, row: int) -> None:
        """Compute the windows of one transaction.

        Args:
            pasts: Of each track; None where the transaction has no such entity. Where the transaction itself
                is among the records it is known by its place.
            asker: The transaction; its own texts are in the order of ``texts``.
            features: Of shape ``(names, transactions)``; the windows are filled in.
            row: Which column is the transaction's.
        """
        chunks: dict[int, list[int]] = {}
        tables = _tables(pasts)
        while True:
            raw, stored = _stored(pasts, chunks)
            wanted = walk.read_windows(features, row, raw, tables, stored, *self._plan, *asker)
            if not len(wanted) or not wanted.any():
                return
            _want(pasts, wanted, chunks)


def _tables(pasts: Sequence[Past | None]) -> Ints:
    """Return the directories behind one another; never to be written to, as all that compiled code reads."""
    busy = [past.directory.table for past in pasts if past is not None and past.directory.table.size]
    return np.frombuffer(b"".join(table.data for table in busy), np.int64) if busy else _NO_TABLE


def _stored(pasts: Sequence[Past | None], chunks: Mapping[int, Sequence[int]]) -> tuple[Any, Ints]:
    """Return the pieces' bytes, with the chunks at these places of each track's directory, and where what is.

    The latter are the rows of the tracks, then those of the pieces, see ``walk.Held``.
    """
    raw: list[bytes] = []
    tracks: list[int] = []
    pieces: list[int] = []
    at = words = 0
    for number, past in enumerate(pasts):
        begin = len(raw)
        if past is None:
            tracks += (begin, begin, 0, walk.ABSENT)
            continue
        table = past.directory.table
        if number in chunks:
            for place, chunk in zip(chunks[number], past.chunks_at(chunks[number]), strict=True):
                raw.append(chunk)
                pieces += (at, at + len(chunk), place)
                at += len(chunk)
        raw.append(past.raw_head)
        pieces += (at, at + len(past.raw_head), table.shape[1])
        at += len(past.raw_head)
        tracks += (begin, len(raw), words, table.shape[1])
        words += table.size
    return np.frombuffer(b"".join(raw) or b"\0", np.uint8), np.array(tracks + pieces, np.int64)


def _want(pasts: Sequence[Past | None], wanted: Any, chunks: dict[int, list[int]]) -> None:
    """Add the places of the wanted chunks to those of each track."""
    begin = 0
    for number, past in enumerate(pasts):
        if past is None:
            continue
        end = begin + len(past.directory)
        if places := np.flatnonzero(wanted[begin:end]).tolist():
            chunks[number] = sorted((*chunks.get(number, ()), *places))
        begin = end


class _Rows:
    """The rows of a plan while it is made."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = [*names]
        self.tracks: dict[TrackOf, int] = {}
        self.own: dict[str, int] = {}
        self._formats: list[tuple[int, ...]] = []
        self._asks: list[list[int]] = []
        self._spans: list[tuple[int, int]] = []
        self._conditions: list[tuple[int, int, int]] = []
        self._texts: list[int] = []
        self._statistics: list[tuple[int, ...]] = []
        self._scales: list[tuple[float, float]] = []
        self._slots = 0

    def add(self, name: str, window: Window, key: KeyLayout) -> None:
        """Add a window of an entity."""
        parts = {part for stat in window.stats for part in PARTS[stat]}
        of_entity = self._track(TrackOf(name, False), key.transactions)
        if window.of != "fraud" or parts & {"count", "present"}:
            self._asks.append(self._ask(of_entity, window, key))
        if window.of == "fraud" and key.labels is not None and parts & {"total", "last"}:
            self._asks.append(
                self._ask_labels(self._track(TrackOf(name, True), key.labels), window, key.labels)
            )
        for stat in window.stats:
            for place, span in enumerate(window.spans):
                feature = self._feature(window.name(stat, span))
                row = (_STATS.index(stat), self._slots + place, len(self._scales), of_entity, feature)
                self._statistics.append(row)
        self._scales.append(
            (_UNIT if window.of_number else 1.0, np.nan if window.empty is None else window.empty)
        )
        self._slots += len(window.spans)

    def plan(self) -> walk.Plan:
        """Return the plan."""
        columns = max((len(form) for form in self._formats), default=0)
        formats = [(*form, *[-1] * (columns - len(form))) for form in self._formats]
        return walk.Plan(
            _table(formats, columns),
            _table(self._asks, walk.ASK_WIDTH),
            _table(self._spans, 2),
            _table(self._conditions, 3),
            np.array(self._texts, np.int64),
            _table(self._statistics, 5),
            np.array(self._scales, np.float64).reshape(-1, 2),
        )

    def _feature(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    def _track(self, track: TrackOf, known: Track) -> int:
        if track not in self.tracks:
            self.tracks[track] = len(self.tracks)
            for kind in known.format.types:
                at = {name: offset for name, (_, offset, *_) in (kind.fields or {}).items()}
                columns = [at[name] for name, _ in known.format.columns]
                self._formats.append((kind.itemsize, at.get(KNOWN_AT, -1), *columns))
        return self.tracks[track]

    def _ask(self, number: int, window: Window, key: KeyLayout) -> list[int]:
        track, columns = key.transactions, [*key.columns]
        reading, valued, text = key.reading(window), number_of(window), window.of_text
        ask = self._spanned(number, window)
        ask[walk.ITSELF] = window.includes_self("count")
        ask[walk.SETTLED] = track.settled_column(reading)
        ask[walk.COUNT_SUMMED] = track.column("count", reading, None)
        if valued is not None:
            ask[walk.NUMBER] = columns.index(valued)
            ask[walk.IS_AMOUNT] = valued == AMOUNT
            ask[walk.NUMBER_SUMMED] = track.column("present", reading, valued)
        if text is not None:
            ask[walk.TEXT] = columns.index(text)
            ask[walk.OWN] = self.own.setdefault(text, len(self.own))
        if window.on_status:
            ask[walk.STATUS_TIME] = columns.index(STATUS_TIME)
        ask[walk.CONDITIONS_BEGIN] = len(self._conditions)
        for column, texts in window.conditions.items():
            # All that is kept is of the kinds that are wanted where a record does not say its kind.
            if column in columns:
                begin = len(self._texts)
                self._texts += [text_number(text) for text in texts]
                self._conditions.append((columns.index(column), begin, len(self._texts)))
        ask[walk.CONDITIONS_END] = len(self._conditions)
        return ask

    def _ask_labels(self, number: int, window: Window, track: Track) -> list[int]:
        ask = self._spanned(number, window)
        ask[walk.IS_LABELS] = True
        ask[walk.SETTLED] = track.settled_column(0)
        ask[walk.COUNT_SUMMED] = track.column("count", 0, None)
        return ask

    def _spanned(self, number: int, window: Window) -> list[int]:
        """An ask for nothing but the spans of a window."""
        ask = [-1] * walk.ASK_WIDTH
        ask[walk.TRACK], ask[walk.DELAY] = number, window.delay
        ask[walk.IS_LABELS] = ask[walk.ITSELF] = ask[walk.IS_AMOUNT] = False
        ask[walk.SPANS_BEGIN] = len(self._spans)
        reaches = [(span + window.delay, self._slots + place) for place, span in enumerate(window.spans)]
        self._spans += sorted(reaches)
        ask[walk.SPANS_END] = len(self._spans)
        return ask


def _table(rows: Sequence[Sequence[int]], width: int) -> Ints:
    return np.array(rows, np.int64).reshape(-1, width)
