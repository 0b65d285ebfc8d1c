"""What looks like a payment card's number must not enter: found in texts, numbers and names, and refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from fraud.card_numbers import holds_card_number
from serve_app.errors import CardNumberError, SensitiveFieldError

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
