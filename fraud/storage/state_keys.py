"""What the online state stores besides its entities' pasts: what it is, ids it knows, answers it gave.

A transaction is known by the 64-bit hash of its id, its tie. Keys of pasts begin with their track's number,
all others with a byte past those.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from fraud.errors import FormatVersionError
from fraud.features.facts import Ints
from fraud.features.layout import Layout
from fraud.features.past import Pages
from fraud.storage.state_store import Item

FORMAT_VERSION: Final = 3

IDS: Final = b"\xf0"
ANSWERS: Final = b"\xf1"
ABOUT: Final = b"\xf2about"
SOURCES: Final = b"\xf2sources"
MOMENTS: Final = b"\xf3"
"""Of answers: their keys in the order in which they were stored."""

_KEY: Final = struct.Struct(">Q")
_MOMENT: Final = struct.Struct(">QQ")
_TIME: Final = struct.Struct("<q")
MARK_BYTES: Final = 8
"""Of a request's digest, kept with its id."""


class About(msgspec.Struct, frozen=True):
    """What a state is.

    Attributes:
        format_version: Of its bytes.
        windows: Its layout, see ``fraud.features.layout``.
        late_us: How much later than the newest facts a transaction can be scored exactly.
        as_of_us: Up to when the lake's facts were brought in, microseconds.
        until_us: Facts of the lake from then on are left out; None where none are.
        transactions_version: The version of ``transactions`` that it holds.
        labels_version: The version of ``labels``; None where there was no such table.
    """

    format_version: int
    windows: list[dict[str, Any]]
    late_us: int
    as_of_us: int
    until_us: int | None
    transactions_version: int | None
    labels_version: int | None

    @property
    def layout(self) -> Layout:
        """What it keeps."""
        return Layout.from_json(self.windows)

    def to_bytes(self) -> bytes:
        """Return what ``read_about`` reads."""
        return msgspec.json.encode(self)


def read_about(pages: Pages) -> About:
    """Return what the state is.

    Raises:
        FormatVersionError: It was written in another format.
    """
    raw = pages.get(ABOUT) or b"{}"
    found = msgspec.json.decode(raw).get("format_version")
    if found != FORMAT_VERSION:
        raise FormatVersionError("the online state", found, FORMAT_VERSION)
    return msgspec.json.decode(raw, type=About)


class Known(NamedTuple):
    """A transaction by its id.

    Attributes:
        event_time: Microseconds.
        entities: The numbers of the entities that keep labels, in the layout's order; ``NO_TEXT`` for none.
        mark: The first bytes of its request's digest; empty where it came from the lake.
    """

    event_time: int
    entities: tuple[int, ...]
    mark: bytes = b""


def id_key(tie: int) -> bytes:
    """Return the key under which a transaction is known."""
    return IDS + _KEY.pack(tie & (2**64 - 1))


def answer_key(tie: int) -> bytes:
    """Return the key of a transaction's answer."""
    return ANSWERS + _KEY.pack(tie & (2**64 - 1))


def moment_key(stored_us: int, tie: int) -> bytes:
    """Return the key that says when a transaction's answer was stored; the first ones with tie 0."""
    return MOMENTS + _MOMENT.pack(stored_us, tie & (2**64 - 1))


def answer_key_of(moment: bytes) -> bytes:
    """Return the key of the answer whose moment it is."""
    return ANSWERS + moment[-_KEY.size :]


def tie_of(key: bytes) -> int:
    """Return the tie of the transaction whose key it is."""
    number: int = _KEY.unpack_from(key, 1)[0]
    return number - 2**64 if number >= 2**63 else number


def time_of(value: bytes) -> int:
    """Return the event time of the transaction whose id is stored."""
    return int(_TIME.unpack_from(value)[0])


def read_known(pages: Pages, tie: int, entities: int) -> Known | None:
    """Return what is known of a transaction in a layout with so many labelled entities."""
    raw = pages.get(id_key(tie))
    return None if raw is None else known_of(raw, entities)


def known_of(raw: bytes, entities: int) -> Known:
    """Return what ``known_value`` packed."""
    event_time, *numbers = struct.unpack_from(f"<{1 + entities}q", raw)
    return Known(event_time, tuple(numbers), raw[8 * (1 + entities) :])


def known_value(known: Known) -> bytes:
    """Return what is stored of a known transaction."""
    return struct.pack(f"<{1 + len(known.entities)}q", known.event_time, *known.entities) + known.mark


@dataclass(frozen=True)
class Sources:
    """The sources of labels; a source's code is its place.

    Attributes:
        names: In the order in which they were first seen.
    """

    names: tuple[str, ...]

    @classmethod
    def read(cls, pages: Pages) -> Sources:
        """Return those the state knows."""
        return cls(tuple(msgspec.json.decode(pages.get(SOURCES) or b"[]")))

    def to_item(self) -> Item:
        """Return what ``read`` reads."""
        return SOURCES, msgspec.json.encode(self.names)

    def with_names(self, names: set[str]) -> Sources:
        """Return the sources with others behind them."""
        return Sources((*self.names, *sorted(names - set(self.names))))

    def rank(self) -> Ints:
        """Return the place of each code among the sorted names, shape ``(codes,)``."""
        rank = np.empty(len(self.names), np.int64)
        rank[sorted(range(len(self.names)), key=self.names.__getitem__)] = np.arange(len(self.names))
        return rank
