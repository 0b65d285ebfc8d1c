"""Ids as text tokens, their tie numbers, and the search for card numbers among them."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud.mapping.text import Bools, bools, text
from fraud.xxh3 import hashes

_SHORTEST_PAN: Final = 13
_DIGIT_RUN: Final = re.compile(r"\d(?:[ -]?\d){12,}")
_ISSUER: Final = re.compile(
    r"4|5[0-8]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|30[0-5]|3[689]|35(?:2[89]|[3-8])|6(?:011|2|3|4[4-9]|5|7)"
)
"""First digits that card schemes issue (Source: ISO/IEC 7812 ranges of Visa, Maestro, Mastercard, American
Express, Diners, JCB, Discover and UnionPay)."""

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
    """Tell which texts hold a card number: 13 to 19 digits of an issuer's range with a right check digit.

    Digits count as one run where single spaces or dashes stand between them.
    """
    found = np.zeros(len(values), dtype=bool)
    if (pc.max(pc.binary_length(values)).as_py() or 0) < _SHORTEST_PAN:
        return found
    suspects = np.flatnonzero(bools(pc.match_substring_regex(values, _DIGIT_RUN.pattern)))
    texts = values.take(pa.array(suspects)).to_pylist()
    found[suspects] = [_holds_card_number(each) for each in texts]
    return found


def masked(value: str) -> str:
    """Return the text with every run of 13 and more digits replaced by asterisks."""
    return _DIGIT_RUN.sub(lambda run: "*" * len(run.group()), value)


def _holds_card_number(value: str) -> bool:
    runs = (re.sub("[ -]", "", run) for run in _DIGIT_RUN.findall(value))
    return any(len(run) <= 19 and _ISSUER.match(run) is not None and _luhn(run) for run in runs)


def _luhn(digits: str) -> bool:
    """Check digit of ISO/IEC 7812-1, annex B."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0
