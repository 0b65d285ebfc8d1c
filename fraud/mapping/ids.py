"""Ids as text tokens, their tie numbers, and the search for card numbers among them."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud.card_numbers import BETWEEN, holds_card_number
from fraud.mapping.text import Bools, bools, text
from fraud.xxh3 import hashes

_SHORTEST_PAN: Final = 13
_DIGIT_RUN: Final = re.compile(r"\d(?:[ -]?\d){12,}")
_SUSPECT: Final = rf"\p{{Nd}}(?:{BETWEEN}\p{{Nd}}){{12,}}"
"""For Arrow: what a text without it holds is no card number; decides nothing else."""

_CONTROL: Final = r"[\x00-\x1f\x7f]"
_FIRST_PRINTABLE: Final = 0x20
_DELETE: Final = 0x7F
_FLOAT: Final = r"[.einf]"
"""In the text of a float that is no whole number, or has lost digits."""


def tie(ids: pa.Array) -> NDArray[np.int64]:
    """Return the signed xxh3_64 of each id, shape ``(n,)``."""
    return hashes(ids, null=0)


def read_ids(column: pa.ChunkedArray | pa.Array, nulls: tuple[str, ...]) -> tuple[pa.Array, Bools]:
    """Read a column of ids as text.

    Returns:
        The ids, null where missing, and which of them cannot be an id, shape ``(n,)``.
    """
    ids = text(column, nulls)
    if pa.types.is_integer(column.type):
        return ids, np.zeros(len(ids), dtype=bool)
    if pa.types.is_floating(column.type):
        return ids, bools(pc.match_substring_regex(ids, _FLOAT))
    if _has_no_control_bytes(ids):
        return ids, np.zeros(len(ids), dtype=bool)
    return ids, bools(pc.match_substring_regex(ids, _CONTROL))


def _has_no_control_bytes(ids: pa.Array) -> bool:
    """Tell of all texts at once, a tenth of the time: the bytes of other characters are never that small."""
    raw = np.frombuffer(ids.buffers()[2] or b"", np.uint8)
    return not ((raw < _FIRST_PRINTABLE) | (raw == _DELETE)).any()


def card_numbers(values: pa.Array) -> Bools:
    """Tell which texts hold a card number, see ``fraud.card_numbers``."""
    found = np.zeros(len(values), dtype=bool)
    if (pc.max(pc.binary_length(values)).as_py() or 0) < _SHORTEST_PAN:
        return found
    suspects = np.flatnonzero(bools(pc.match_substring_regex(values, _SUSPECT)))
    texts = values.take(pa.array(suspects)).to_pylist()
    found[suspects] = [holds_card_number(each) for each in texts]
    return found


def masked(value: str) -> str:
    """Return the text with every run of 13 and more digits replaced by asterisks."""
    return _DIGIT_RUN.sub(lambda run: "*" * len(run.group()), value)
