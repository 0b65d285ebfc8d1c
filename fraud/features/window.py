"""Window edges, said once and imported by every executor.

A window of span ``s`` and delay ``d`` at transaction x with event time t covers the facts of the same entity

* with event time in ``(t - d - s, t - d]``: open at the old end, closed at the young end,
* that were known by t: a transaction by its ``known_at``, a fraud by its ``label_time``,
* ordered by ``(event_time, tie)``: x sees the transactions of its own instant that come before it.

With ``d = 0`` and ``include_self`` the transaction sees itself too, whenever it was known. Seen from a fact
with event time e, the same rule says which transactions see it: those with t in ``[e + d, e + d + s)`` and
not before the fact was known. Both directions are used: the online executor asks what a transaction sees,
the batch executor where a fact is seen.

All times are integer microseconds since 1970 in UTC and all sums are integers: the executors agree
to the bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

NEVER: Final = 2**62
"""A time after every event: a label that nothing followed."""

DAY_US: Final = 86_400_000_000

_UNITS: Final = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": DAY_US}


def duration_us(text: str) -> int:
    """Return the microseconds of a duration such as ``30d``, ``12h``, ``15m`` or ``0s``.

    Raises:
        ValueError: The text is no whole number with one of the units s, m, h, d.
    """
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise ValueError(f"{text!r} is no duration: write a whole number and s, m, h or d, such as 7d")
    return int(match[1]) * _UNITS[match[2]]


def duration_text(microseconds: int) -> str:
    """Return the shortest text of a duration: ``7d`` for a week."""
    for unit in ("d", "h", "m"):
        if microseconds and microseconds % _UNITS[unit] == 0:
            return f"{microseconds // _UNITS[unit]}{unit}"
    return f"{microseconds // _UNITS['s']}s"


def fraud_spans(labels: Iterable[tuple[int, str, bool]]) -> list[tuple[int, int]]:
    """Return when a transaction counted as fraud, as half-open spans ``[known, withdrawn)``.

    Args:
        labels: The transaction's labels as (label_time, source, is_fraud), in any order; at every time the
            greatest (label_time, source) known by then holds.
    """
    ordered = sorted(labels)
    followed = zip(ordered, [*ordered[1:], (NEVER, "", False)], strict=False)
    return [(known, until) for (known, _, is_fraud), (until, _, _) in followed if is_fraud and known < until]
