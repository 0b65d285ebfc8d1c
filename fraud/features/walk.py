"""The compiled walk over entities' records: all windows of one transaction in one call.

A *track* is an entity's transactions, or their labels: a head and closed chunks. An *ask* is what one window
wants of one track. Its spans end together, so one walk from there back in time fills them all: the shortest
is written down where the walk leaves it, then the next. A chunk that lies in every span not yet left is added
by its summary, any other record by record.

Records are read where they lie, as bytes. Nothing here knows what a feature is: ``fraud.features.reading``
makes the tables of whole numbers that say what to read. It runs without the interpreter's lock.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit

from fraud.features.facts import NO_TEXT
from fraud.features.statistics import NOTHING, deviation_of, limbs, mean_of, sum_of, unit_of
from fraud.features.track import FIRST, LAST

# Columns of the tables of a plan; -1 where there is none.
TRACK, IS_LABELS, DELAY, ITSELF, SPANS_BEGIN, SPANS_END = range(6)
NUMBER, IS_AMOUNT, TEXT, OWN, STATUS_TIME, CONDITIONS_BEGIN, CONDITIONS_END = range(6, 13)
SETTLED, COUNT_SUMMED, NUMBER_SUMMED = range(13, 16)
ASK_WIDTH: Final = 16
"""An ask: of which track; whether the transaction counts itself; the columns of its numbers and texts, and
the place of the transaction's own text; the columns of summaries, where the newest follows the count."""
REACH, SLOT = range(2)
"""A span: how long before the transaction it begins, and its row of parts."""
COLUMN, TEXTS_BEGIN, TEXTS_END = range(3)
"""A condition: one of these texts."""
STRIDE, KNOWN_AT, COLUMNS = range(3)
"""A format: the bytes of a record, where in it ``known_at`` is, and from there on where each column is."""
STAT, PARTS, WINDOW, ENTITY, FEATURE = range(5)
"""A statistic: which, made of which row of parts, of which window and track, and which feature it is."""

# Columns of the tables of what is held.
PIECES_BEGIN, PIECES_END, TABLE, CHUNKS = range(4)
"""A track: its pieces, where its directory begins, and how many chunks that has."""
ABSENT: Final = -1
"""The chunks of a track where the transaction has no such entity."""
BYTES_BEGIN, BYTES_END, PLACE = range(3)
"""A piece: its bytes, and the place of its chunk; the head comes last, with the place after all chunks."""

HEADER: Final = 2
"""Bytes of a piece before its records; the first are the flags."""
FORMATS: Final = 4
"""Of a track: one for each combination of flags."""
_WIDE: Final = 2
LABEL_TIME, IS_FRAUD = 0, 2
"""Columns of labels."""

COUNT, PRESENT, TOTAL, HIGHS, MIDS, LOWS, NEWEST, DISTINCT, SEEN = range(9)
LOWEST, HIGHEST = range(2)
"""The parts of a span in whole numbers, and its extremes."""

_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)


class Plan(NamedTuple):
    """What is read: a row for each thing, in the columns above.

    Attributes:
        formats: Four of each track.
        asks: In the order in which they write down parts; those of labels after those of transactions.
        spans: The shorter ones of an ask first.
        conditions: Of asks.
        texts: Of conditions, as their numbers.
        statistics: One a feature.
        scales: What a window's values are multiplied by, and what it gives without any.
    """

    formats: Any
    asks: Any
    spans: Any
    conditions: Any
    texts: Any
    statistics: Any
    scales: Any


class Held(NamedTuple):
    """What is stored of the transaction's entities.

    Attributes:
        raw: The bytes of all pieces.
        tables: The directories, one behind the other.
        tracks: In the plan's order.
        pieces: Those of a track together, the older first.
    """

    raw: Any
    tables: Any
    tracks: Any
    pieces: Any


class Asker(NamedTuple):
    """The transaction whose windows are read: its time in microseconds, its tie, its own texts."""

    time: Any
    tie: Any
    own: Any


class Parts(NamedTuple):
    """The parts of every span, and of the walk so far."""

    whole: Any
    extremes: Any


@njit(nogil=True, cache=True)
def read_windows(
    features: Any,
    row: Any,
    raw: Any,
    tables: Any,
    stored: Any,
    formats: Any,
    asks: Any,
    spans: Any,
    conditions: Any,
    texts: Any,
    statistics: Any,
    scales: Any,
    time: Any,
    tie: Any,
    own: Any,
) -> Any:  # pragma: no cover
    """Compute the windows of one transaction.

    It fills column ``row`` of ``features``, of shape ``(features, rows)``. ``stored`` holds the rows of
    tracks, then those of pieces; all else is described at ``Held``, ``Plan`` and ``Asker``.

    Returns:
        Which chunks must be among the pieces and are not, the tracks one behind the other; the features are
        right where there are none.
    """
    # An array is passed in a tenth of the time that one in a tuple takes.
    plan = Plan(formats, asks, spans, conditions, texts, statistics, scales)
    track_words = 4 * len(formats) // FORMATS
    tracks, pieces = stored[:track_words].reshape((-1, 4)), stored[track_words:].reshape((-1, 3))
    held, asker = Held(raw, tables, tracks, pieces), Asker(time, tie, own)
    parts = Parts(np.empty((len(spans), 9), np.int64), np.empty((len(spans), 2)))
    first_chunk = np.zeros(len(tracks) + 1, np.int64)
    for track in range(len(tracks)):
        first_chunk[track + 1] = first_chunk[track] + max(tracks[track, CHUNKS], 0)
    wanted = np.zeros(first_chunk[-1], np.bool_)
    for number in range(len(asks)):
        track = asks[number, TRACK]
        if tracks[track, CHUNKS] != ABSENT:
            _walk(asks[number], plan, held, asker, parts, wanted[first_chunk[track] :])
    for number in range(len(statistics)):
        said = statistics[number]
        value = np.nan
        if tracks[said[ENTITY], CHUNKS] != ABSENT:
            slot = said[PARTS]
            value = _statistic(
                said[STAT], parts.whole[slot], parts.extremes[slot], scales[said[WINDOW]], time
            )
        features[said[FEATURE], row] = value
    return wanted


@njit(nogil=True, cache=True)
def _statistic(stat: Any, whole: Any, extremes: Any, scaled: Any, time: Any) -> Any:  # pragma: no cover
    """What ``fraud.features.statistics.read`` makes of the parts; ``stat`` is a place among its names."""
    scale, empty = scaled
    value: Any
    if stat == 0:
        value = np.float64(whole[COUNT])
    elif stat == 1:
        value = sum_of(whole[PRESENT], whole[TOTAL], scale, empty)
    elif stat == 2:
        value = mean_of(whole[PRESENT], whole[TOTAL], scale, empty)
    elif stat == 3:
        highs, mids, lows = whole[HIGHS], whole[MIDS], whole[LOWS]
        value = deviation_of(whole[PRESENT], whole[TOTAL], highs, mids, lows, scale, empty)
    elif stat in (4, 5):
        extreme = extremes[stat - 4]
        value = empty if np.isnan(extreme) else extreme
    elif stat == 6:
        value = np.float64(whole[DISTINCT])
    elif stat == 7:
        value = empty if whole[NEWEST] == NOTHING else np.float64(time - whole[NEWEST]) / 1e6
    else:
        value = np.nan if whole[SEEN] < 0 else np.float64(whole[SEEN] == 0)
    return value


@njit(nogil=True, cache=True)
def _walk(ask: Any, plan: Any, held: Any, asker: Any, parts: Any, wanted: Any) -> None:  # pragma: no cover
    """Fill the parts of an ask's spans, and tell which chunks are wanted for it."""
    track = held.tracks[ask[TRACK]]
    chunks, table, spans, pieces = track[CHUNKS], held.tables[track[TABLE] :], plan.spans, held.pieces
    sums = Parts(np.zeros(9, np.int64), np.full(2, np.nan))
    sums.whole[NEWEST] = NOTHING
    if ask[TEXT] >= 0 and asker.own[ask[OWN]] == NO_TEXT:
        sums.whole[SEEN] = -1
    seen = _no_texts(ask, track, plan, held)
    piece, span, end = track[PIECES_END] - 1, ask[SPANS_BEGIN], ask[SPANS_END]
    span = _add_records(pieces[piece], span, ask, plan, held, asker, sums, seen, parts)
    now, high = asker.time, asker.time - ask[DELAY]
    # Without a delay a record of the transaction's own instant may come too late to count.
    young = high + 1 if ask[DELAY] else high
    place = chunks - 1
    while place >= 0 and span < end:
        begin = now - spans[span, REACH]
        if table[FIRST * chunks + place] > high:
            place -= 1
            continue
        if table[LAST * chunks + place] <= begin:
            span = _leave(table[LAST * chunks + place], span, ask, plan, asker, sums, parts)
            continue
        after = place + 1
        while (
            place >= 0
            and ask[TEXT] < 0
            and table[LAST * chunks + place] < young
            and table[FIRST * chunks + place] > begin
            and table[ask[SETTLED] * chunks + place] <= now
        ):
            place -= 1
        if place + 1 < after:
            _add_summaries(table, chunks, place + 1, after, ask, sums)
            continue
        while piece >= track[PIECES_BEGIN] and pieces[piece, PLACE] > place:
            piece -= 1
        if piece >= track[PIECES_BEGIN] and pieces[piece, PLACE] == place:
            span = _add_records(pieces[piece], span, ask, plan, held, asker, sums, seen, parts)
        else:
            wanted[place] = True
        place -= 1
    _leave(-(2**62), span, ask, plan, asker, sums, parts)


@njit(nogil=True, cache=True)
def _leave(
    at: Any, span: Any, ask: Any, plan: Any, asker: Any, sums: Any, parts: Any
) -> Any:  # pragma: no cover
    """Write down the parts of the spans that begin at a time or later; return the next span."""
    while span < ask[SPANS_END] and at <= asker.time - plan.spans[span, REACH]:
        slot = plan.spans[span, SLOT]
        if ask[IS_LABELS]:
            parts.whole[slot, TOTAL] = sums.whole[COUNT]
            parts.whole[slot, NEWEST] = sums.whole[NEWEST]
        else:
            parts.whole[slot] = sums.whole
            parts.extremes[slot] = sums.extremes
        span += 1
    return span


@njit(nogil=True, cache=True)
def _add_summaries(
    table: Any, chunks: Any, begin: Any, end: Any, ask: Any, sums: Any
) -> None:  # pragma: no cover
    """Add the chunks of some places as a whole; their records are earlier than the transaction."""
    whole, extremes = sums.whole, sums.extremes
    count = np.int64(0)
    for at in range(ask[COUNT_SUMMED] * chunks + begin, ask[COUNT_SUMMED] * chunks + end):
        count += table[at]
        whole[NEWEST] = max(whole[NEWEST], table[at + chunks])
    whole[COUNT] += count
    whole[SEEN] += count
    if ask[NUMBER] < 0:
        whole[PRESENT] += count
        return
    first = ask[NUMBER_SUMMED] * chunks
    for part in range(5):
        for at in range(first + part * chunks + begin, first + part * chunks + end):
            whole[PRESENT + part] += table[at]
    for at in range(first + 5 * chunks + begin, first + 5 * chunks + end):
        extremes[LOWEST] = _lower(extremes[LOWEST], _as_float(table[at]))
        extremes[HIGHEST] = -_lower(-extremes[HIGHEST], -_as_float(table[at + chunks]))


@njit(nogil=True, cache=True)
def _add_records(
    piece: Any, span: Any, ask: Any, plan: Any, held: Any, asker: Any, sums: Any, seen: Any, parts: Any
) -> Any:  # pragma: no cover
    """Add a piece's records from the youngest on, leave the spans on the way; return the next span.

    Arrays are counted references: passing some in a loop would take ten times as long as the rest of it.
    """
    raw, spans, conditions, texts = held.raw, plan.spans, plan.conditions, plan.texts
    whole, extremes = sums.whole, sums.extremes
    flags = np.int64(raw[piece[BYTES_BEGIN]])
    form = plan.formats[FORMATS * ask[TRACK] + flags]
    size, known_at = form[STRIDE], form[KNOWN_AT]
    is_wide = flags & _WIDE
    now, high, is_strict = asker.time, asker.time - ask[DELAY], ask[DELAY] == 0
    own = asker.own[ask[OWN]] if ask[TEXT] >= 0 else NO_TEXT
    leave = now - spans[span, REACH]
    end = piece[BYTES_END]
    for at in range(end - size, piece[BYTES_BEGIN] + HEADER - 1, -size):
        time = _word(raw, at)
        if time > high:
            continue
        is_itself = False
        if is_strict and time == now:
            is_itself = _word(raw, at + 8) == asker.tie
            if _word(raw, at + 8) > asker.tie or (is_itself and not ask[ITSELF]):
                continue
        if time <= leave:
            span = _leave(time, span, ask, plan, asker, sums, parts)
            if span == ask[SPANS_END]:
                break
            leave = now - spans[span, REACH]
        if ask[IS_LABELS]:
            after = at + size if at + size < end else at
            counts = _is_fraud(raw, at, after, form[COLUMNS + LABEL_TIME], form[COLUMNS + IS_FRAUD], now)
        else:
            counts = known_at < 0 or _word(raw, at + known_at) <= now
            if counts and ask[STATUS_TIME] >= 0:
                counts = _word(raw, at + form[COLUMNS + ask[STATUS_TIME]]) <= now
            for number in range(ask[CONDITIONS_BEGIN], ask[CONDITIONS_END]):
                text = _word(raw, at + form[COLUMNS + conditions[number, COLUMN]])
                fits = False
                for place in range(conditions[number, TEXTS_BEGIN], conditions[number, TEXTS_END]):
                    fits |= text == texts[place]
                counts &= fits
        if not counts:
            continue
        whole[COUNT] += 1
        if not is_itself and whole[NEWEST] == NOTHING:
            whole[NEWEST] = time
        if ask[TEXT] < 0:
            whole[SEEN] += not is_itself
        else:
            text = _word(raw, at + form[COLUMNS + ask[TEXT]])
            whole[SEEN] += not is_itself and own != NO_TEXT and text == own
            whole[DISTINCT] += text != NO_TEXT and _is_new(text, seen)
        if ask[NUMBER] < 0:
            whole[PRESENT] += 1
            continue
        place = at + form[COLUMNS + ask[NUMBER]]
        if not ask[IS_AMOUNT]:
            exact = _as_float(_word(raw, place))
            if np.isnan(exact):
                continue
            unit = unit_of(exact)
        else:
            unit = _word(raw, place) if is_wide else np.int64(np.int32(_half(raw, place)))
            exact = np.float64(unit)
        above, between, below = limbs(unit)
        whole[PRESENT] += 1
        whole[TOTAL] += unit
        whole[HIGHS] += above
        whole[MIDS] += between
        whole[LOWS] += below
        extremes[LOWEST] = _lower(extremes[LOWEST], exact)
        extremes[HIGHEST] = -_lower(-extremes[HIGHEST], -exact)
    return span


@njit(nogil=True, cache=True)
def _is_fraud(raw: Any, at: Any, after: Any, known: Any, is_fraud: Any, now: Any) -> Any:  # pragma: no cover
    """Whether a label says fraud and is the last known one of its transaction; those stand together."""
    is_same = _word(raw, at) == _word(raw, after) and _word(raw, at + 8) == _word(raw, after + 8)
    is_followed = after != at and is_same and _word(raw, after + known) <= now
    return _word(raw, at + known) <= now and raw[np.uint64(at + is_fraud)] != 0 and not is_followed


@njit(nogil=True, cache=True)
def _no_texts(ask: Any, track: Any, plan: Any, held: Any) -> Any:  # pragma: no cover
    """A set with room for every text of a track; its size is a power of two."""
    if ask[TEXT] < 0:
        return np.empty(0, np.int64)
    size = 2
    for number in range(track[PIECES_BEGIN], track[PIECES_END]):
        piece = held.pieces[number]
        form = plan.formats[FORMATS * ask[TRACK] + np.int64(held.raw[piece[BYTES_BEGIN]])]
        size += 2 * (piece[BYTES_END] - piece[BYTES_BEGIN]) // form[STRIDE]
    room = 2
    while room < size:
        room *= 2
    return np.full(room, NO_TEXT)


@njit(nogil=True, cache=True)
def _is_new(text: Any, seen: Any) -> Any:  # pragma: no cover
    """Put a text into a set; tell whether it was not there."""
    last = np.uint64(len(seen) - 1)
    place = (np.uint64(text) * _SPREAD) >> np.uint64(32) & last
    while seen[place] != NO_TEXT:
        if seen[place] == text:
            return False
        place = (place + np.uint64(1)) & last
    seen[place] = text
    return True


@njit(nogil=True, cache=True)
def _lower(one: Any, other: Any) -> Any:  # pragma: no cover
    """The lower of two numbers; NaN is none."""
    return one if one <= other or np.isnan(other) else other


@njit(nogil=True, cache=True)
def _half(raw: Any, at: Any) -> Any:  # pragma: no cover
    """Four bytes, the least first: one load. An unsigned place needs no look at negative ones."""
    place = np.uint64(at)
    half = np.uint64(raw[place])
    half |= np.uint64(raw[place + np.uint64(1)]) << np.uint64(8)
    half |= np.uint64(raw[place + np.uint64(2)]) << np.uint64(16)
    return half | np.uint64(raw[place + np.uint64(3)]) << np.uint64(24)


@njit(nogil=True, cache=True)
def _word(raw: Any, at: Any) -> Any:  # pragma: no cover
    """Eight bytes as a signed number, the least first."""
    return np.int64(_half(raw, at) | _half(raw, at + 4) << np.uint64(32))


@njit(nogil=True, cache=True)
def _as_float(word: Any) -> Any:  # pragma: no cover
    return np.int64(word).view(np.float64)
