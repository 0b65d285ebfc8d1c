"""Reading a JSON body strictly: what two parsers could read differently is refused."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

from serve_app.errors import CardNumberError, InvalidJsonError

_RUN: Final = re.compile(r"(?<![0-9A-Za-z])[0-9]{13,19}(?![0-9A-Za-z])")
_GROUPS: Final = re.compile(
    r"(?<![0-9A-Za-z-])[0-9]{4}"
    r"(?:([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}|([ -])[0-9]{6}\2[0-9]{5})"
    r"(?![0-9A-Za-z-])"
)
"""As printed on cards, 4-4-4-4 or 4-6-5; a UUID has longer and lettered neighbours."""

_LARGE: Final = 10**13
_TOO_LARGE: Final = 10**19
_NOT_DIGIT: Final = re.compile(r"[^0-9]")


class _DuplicateKeyError(ValueError):
    pass


def read_object(body: bytes) -> dict[str, Any]:
    """Return the one JSON object of a body.

    Not-a-number, infinities, lone surrogates, a byte order mark, other encodings than UTF-8, trailing data
    and repeated names are refused.

    Raises:
        InvalidJsonError: It is not such an object.
    """
    try:
        value = orjson.loads(body)
        # The second parser knows of repeated names; the first is the strict one, and stops deep nesting.
        json.loads(body, object_pairs_hook=_unique)
    except _DuplicateKeyError:
        raise InvalidJsonError("the body repeats a name: write every field once") from None
    except (ValueError, RecursionError):
        raise InvalidJsonError("the body is not valid JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise InvalidJsonError("the body is not a JSON object")
    return value


def refuse_card_numbers(values: dict[str, Any]) -> None:
    """Refuse digits with a valid check digit that a card could have, in the values and in inner names.

    A text is refused for 13 to 19 digits, together or in a card's groups. A number is refused for 14 to 19
    digits that start as cards of the payment networks do (2 to 6), so that times in milliseconds pass.

    Raises:
        CardNumberError: Naming the field, never the number.
    """
    for name, value in values.items():
        inner = [*value.keys(), *value.values()] if isinstance(value, dict) else [value]
        if any(map(_holds_card_number, inner)):
            raise CardNumberError("this looks like a card number: send a token of the card instead", name)


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _DuplicateKeyError


def _holds_card_number(value: object) -> bool:
    if isinstance(value, int | float):
        return (
            _LARGE <= value < _TOO_LARGE
            and "2" <= str(int(value))[0] <= "6"
            and _passes_luhn(str(int(value)))
        )
    if not isinstance(value, str) or len(value) < 13:
        return False
    runs = [match.group() for pattern in (_RUN, _GROUPS) for match in pattern.finditer(value)]
    return any(_passes_luhn(_NOT_DIGIT.sub("", run)) for run in runs)


def _passes_luhn(digits: str) -> bool:
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0
