"""What looks like a payment card's number must not enter: found in texts, numbers and names, and refused.

A card number is 13 to 19 digits, together or in groups with spaces or dashes between them, that begin as a
card issuer's do, have a length which that issuer uses, and end in the right check digit (Luhn). UUIDs and
long hexadecimal words are no candidates: random ones hold such digits now and then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from serve_app.errors import CardNumberError, SensitiveFieldError

_BETWEEN: Final = "[ \u2010-\u2015\u2212-]{0,3}"
"""Two digits of a number: spaces and dashes, as printed on cards or as people type them."""

_EXEMPT: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{24,})(?![0-9A-Za-z])"
)
_CANDIDATE: Final = re.compile(rf"\d(?:{_BETWEEN}\d){{12,}}")
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

_SENSITIVE: Final = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "card")
    for name in (
        *("cvv", "cvv2", "cvc", "cvc2", "cav2", "csc", "cvn", "securitycode", "verificationvalue"),
        *("pin", "pinblock", "track1", "track2", "trackdata", "track1data", "track2data", "magstripe"),
    )
)
_NOT_LETTERS: Final = re.compile(r"[^0-9a-z]")
_PLAIN_NAME: Final = re.compile(r"[a-z][a-z_]{0,63}")

_REMEDY: Final = (
    "this looks like a card number: send a token of the card instead; "
    "an id that only looks like one needs its format in serve.id_formats"
)


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


class CardNumbers:
    """Refuses card numbers, except where a field has declared what its ids look like.

    Args:
        id_formats: For names of fields, of attributes too: ids that match in full are not looked into.
    """

    def __init__(self, id_formats: Mapping[str, str]) -> None:
        self._formats: dict[str, Callable[[str], object]] = {
            name: re.compile(pattern).fullmatch for name, pattern in id_formats.items()
        }

    def refuse(self, values: Mapping[str, Any]) -> None:
        """Look through the names and values of a transaction or a label.

        Raises:
            CardNumberError: There is one; it names the outermost field, and never the number.
        """
        for name, value in values.items():
            if holds_card_number(name) or self._found(name, value):
                raise CardNumberError(_REMEDY, name if _PLAIN_NAME.fullmatch(name) else None)

    def _found(self, name: str, value: Any) -> bool:
        kind = type(value)
        if kind is str or kind is int or kind is float:
            # A number has no exponent here: 4e15 is 4000000000000000.
            text = value if kind is str else _digits(value)
            return holds_card_number(text) and not self._is_declared(name, text)
        if kind is dict:
            return any(holds_card_number(inner) or self._found(inner, item) for inner, item in value.items())
        return kind is list and any(self._found(name, item) for item in value)

    def _is_declared(self, name: str, text: str) -> bool:
        matches = self._formats.get(name)
        return matches is not None and matches(text) is not None


def refuse_sensitive_names(attributes: Mapping[str, Any]) -> None:
    """Refuse names such as ``cvv``, ``track2`` or ``pin``, however they are written.

    Raises:
        SensitiveFieldError: There is one.
    """
    for name in attributes:
        if len(name) < 64 and _is_sensitive(name):  # longer ones would fill the cache
            raise SensitiveFieldError(
                "a field is named like a card verification value, a PIN or a track: these must not be sent",
                "attributes",
            )


@lru_cache(4096)
def _is_sensitive(name: str) -> bool:
    return _NOT_LETTERS.sub("", name.lower()) in _SENSITIVE


def _digits(value: float) -> str:
    return str(int(value)) if -1e20 < value < 1e20 else ""


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
