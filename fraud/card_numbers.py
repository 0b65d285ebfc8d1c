"""Payment card numbers in texts: what must not enter, neither by a request nor by a file.

A card number is 13 to 19 digits, together or in groups with spaces or dashes between them, that begin as a
card issuer's do, have a length which that issuer uses, and end in the right check digit (Luhn). UUIDs and
long hexadecimal words are no candidates: random ones hold such digits now and then.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

BETWEEN: Final = "[ \u2010-\u2015\u2212-]{0,3}"
"""Two digits of a number: spaces and dashes, as printed on cards or as people type them."""

_EXEMPT: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{24,})(?![0-9A-Za-z])"
)
_CANDIDATE: Final = re.compile(rf"\d(?:{BETWEEN}\d){{12,}}")
_GROUP: Final = re.compile(r"\d+")

_DIGITS: Final = bytes(ord("0") if chr(byte).isdecimal() else byte for byte in range(256))
_SEPARATORS: Final = b" -."
"""The point is for 4111111111.111111e6."""

_RUN: Final = b"0" * 13

_ANY: Final = range(13, 20)
_LONG: Final = range(16, 20)
_ISSUERS: Final = (
    # First and last beginning, and the lengths in use; the networks publish them.
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", range(14, 20)),  # Diners Club
    ("3095", "3095", range(14, 20)),
    ("36", "36", range(14, 20)),
    ("38", "39", range(14, 20)),
    ("3528", "3589", _LONG),  # JCB
    ("50", "50", _ANY),  # Maestro, Verve, RuPay, Elo
    ("56", "69", _ANY),  # Maestro; with Discover (6011, 622126-622925, 644-649, 65) and UnionPay (62)
    ("2200", "2205", _LONG),  # Mir, BORICA
    ("81", "82", _LONG),  # UnionPay, RuPay
    ("8600", "8600", (16,)),  # UzCard
    ("9792", "9792", (16,)),  # Troy
    ("9860", "9860", (16,)),  # Humo
)
_LENGTHS: Final = {
    str(beginning): frozenset(lengths)
    for first, last, lengths in _ISSUERS
    for beginning in range(int(first.ljust(4, "0")), int(last.ljust(4, "9")) + 1)
}
"""By the first four digits."""

_ONCE: Final = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED: Final = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))


def holds_card_number(text: str) -> bool:
    """Whether a card number is somewhere in the text."""
    if len(text) < 13 or not suspects(text.encode("utf-8", "replace")):
        return False
    return any(map(_holds_run, _CANDIDATE.findall(_EXEMPT.sub("|", text))))


def suspects(body: bytes) -> bool:
    """Whether a card number could be in these bytes; False is certain and takes a microsecond.

    An escape or a letter beyond ASCII may stand for a digit.
    """
    return _RUN in body.translate(_DIGITS, _SEPARATORS) or b"\\" in body or not body.isascii()


def _holds_run(candidate: str) -> bool:
    """Whether neighbouring groups of digits make a card number: other groups may stand before and after."""
    groups = _GROUP.findall(candidate)
    digits = "".join(groups)
    if not digits.isascii():
        digits = "".join(str(int(digit)) for digit in digits)
    ends = set(accumulate(map(len, groups)))
    return any(
        start + length in ends and _passes_luhn(digits[start : start + length].encode())
        for start in (0, *ends)
        for length in _LENGTHS.get(digits[start : start + 4], ())
    )


def _passes_luhn(digits: bytes) -> bool:
    return (sum(digits.translate(_ONCE)[-1::-2]) + sum(digits.translate(_DOUBLED)[-2::-2])) % 10 == 0
