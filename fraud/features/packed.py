"""Facts of one entity as packed records, in the order in which windows read them.

A record holds no more than it must: ``known_at`` is left out where every fact was known when it happened, and
amounts take 32 bits where they fit. Those two choices are a chunk's flags.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fraud.features.facts import Bools, Facts, Ints

Packed = NDArray[np.void]
"""Records of shape ``(n,)``."""

AMOUNT: Final = "amount"
KNOWN_AT: Final = "known_at"

_CODES: Final = {"i8": "q", "i4": "i", "f8": "d", "u2": "H", "b1": "?"}
"""Of types, for ``struct``."""
_LATE: Final = 1
_WIDE: Final = 2


@dataclass(frozen=True)
class Format:
    """What a record holds.

    Attributes:
        columns: After ``event_time`` and ``tie``: names with their types as NumPy writes them.
        identity: The columns by which records are ordered and told apart, the first decides first.
        is_late: Whether ``known_at`` may differ from ``event_time``.
    """

    columns: tuple[tuple[str, str], ...]
    identity: tuple[str, ...] = ("event_time", "tie")
    is_late: bool = True

    @cached_property
    def types(self) -> tuple[np.dtype[Any], ...]:
        """The type of a record for each combination of flags."""
        return tuple(self._type(flags) for flags in range(4))

    @cached_property
    def packers(self) -> tuple[struct.Struct, ...]:
        """What makes the bytes of one record for each combination of flags."""
        return tuple(
            struct.Struct("<" + "".join(_CODES[kind[name].str[1:]] for name in kind.names or ()))
            for kind in self.types
        )

    @cached_property
    def widest(self) -> np.dtype[Any]:
        """Holds every fact."""
        return self.types[(_LATE if self.is_late else 0) | _WIDE]

    @cached_property
    def _flags(self) -> dict[int, int]:
        return {kind.itemsize: flags for flags, kind in reversed(list(enumerate(self.types)))}

    def _type(self, flags: int) -> np.dtype[Any]:
        known = [(KNOWN_AT, "<i8")] if flags & _LATE else []
        columns = [
            (name, "<i4" if name == AMOUNT and not flags & _WIDE else kind) for name, kind in self.columns
        ]
        return np.dtype([("event_time", "<i8"), ("tie", "<i8"), *known, *columns])

    def flags(self, rows: Packed) -> int:
        """The flags of records as they are."""
        return self._flags[rows.dtype.itemsize]

    def flags_of(self, *, is_late: bool, is_wide: bool) -> int:
        """Return the fewest flags of records like these."""
        return self._flags[self.types[_LATE * is_late | _WIDE * is_wide].itemsize]

    def empty(self) -> Packed:
        """No records."""
        return np.empty(0, self.types[0])

    def cast(self, rows: Packed, flags: int) -> Packed:
        """Return the records with these flags; they must fit."""
        kind = self.types[flags]
        if rows.dtype.itemsize == kind.itemsize:
            return rows
        cast = np.empty(len(rows), kind)
        present = rows.dtype.names or ()
        for name in kind.names or ():
            cast[name] = rows[name if name in present else "event_time"]
        return cast

    def widen(self, rows: Packed) -> Packed:
        """Return the records in the widest type; other columns are left out."""
        return self.cast(rows, self._flags[self.widest.itemsize])

    def needs(self, rows: Packed) -> tuple[Bools, Bools]:
        """Which records need ``known_at``, and which a wide amount; each of shape ``(n,)``."""
        names = rows.dtype.names or ()
        none = np.zeros(len(rows), np.bool_)
        late = rows[KNOWN_AT] != rows["event_time"] if KNOWN_AT in names else none
        wide = rows[AMOUNT] != rows[AMOUNT].astype(np.int32) if AMOUNT in names else none
        return late, wide

    def narrow(self, rows: Packed) -> Packed:
        """Return the records with no more flags than they need."""
        late, wide = self.needs(rows)
        return self.cast(rows, _LATE * bool(late.any()) | _WIDE * bool(wide.any()))

    def merge(self, old: Packed, new: Packed, rank: Ints | None = None) -> Packed:
        """Return ordered records of both; where one says the same as another of ``new``, that of ``new``.

        Args:
            old: In order.
            new: In order, with no more flags than they need.
            rank: Of the codes in a column ``source``, where it is part of the identity.
        """
        flags = self.flags(old) | self.flags(new)
        old, new = self.cast(old, flags), self.cast(new, flags)
        # NumPy takes 10 microseconds to concatenate records.
        both = np.frombuffer(old.tobytes() + new.tobytes(), self.types[flags])
        if len(old) == 0 or len(new) == 0 or old["event_time"][-1] < new["event_time"][0]:
            return both
        both = both[self.order(both, rank)]
        repeated = np.logical_and.reduce([both[name][1:] == both[name][:-1] for name in self.identity])
        kept: Packed = both[np.append(~repeated, True)]
        return kept

    def order(self, rows: Packed, rank: Ints | None = None) -> Ints:
        """Return the positions of the records in their order; equal ones keep theirs."""
        keys = [
            rows[name] if name != "source" or rank is None else rank[rows[name]] for name in self.identity
        ]
        return np.lexsort(keys[::-1])

    def records(self, facts: Facts) -> Packed:
        """Return transactions as records of the widest type, in the order in which they come."""
        rows = np.empty(len(facts), self.widest)
        rows["event_time"], rows["tie"], rows[KNOWN_AT] = facts.event_time, facts.tie, facts.known_at
        for name, _ in self.columns:
            rows[name] = facts.columns[name]
        return rows

    def facts(self, rows: Packed) -> Facts:
        """Return transactions as windows read them."""
        event_time = rows["event_time"]
        names = rows.dtype.names or ()
        columns = {name: rows[name] for name, _ in self.columns}
        return Facts(event_time, rows["tie"], rows[KNOWN_AT] if KNOWN_AT in names else event_time, columns)
