"""One function per kind of field: it returns the value, or says which field is wrong without repeating it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from serve_app.errors import InvalidFieldError, MissingFieldError, UnknownFieldError

MAX_ID_LENGTH: Final = 128
MAX_ID_BYTES: Final = 384
"""In UTF-8: an id and the name of its column together must fit a key of the state, 511 bytes."""

MAX_TEXT_LENGTH: Final = 256
TIME_PATTERN: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

_TIME: Final = re.compile(TIME_PATTERN)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH: Final = _EPOCH.replace(tzinfo=None)
_MICROSECOND: Final = timedelta(microseconds=1)
_EARLIEST_US: Final = 946_684_800_000_000
"""The year 2000: anything before is a clock that was never set."""


def refuse_unknown(values: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise UnknownFieldError where a name is not known; the name itself is not repeated."""
    if not values.keys() <= set(known):
        raise UnknownFieldError(
            f"the body has a field of another name than {', '.join(sorted(known))}; "
            "what a model may read goes into attributes"
        )


def required(values: Mapping[str, Any], name: str) -> Any:
    """Return a field that must be there and not null."""
    value = values.get(name)
    if value is None:
        raise MissingFieldError(f"{name} is required", name)
    return value


def identifier(value: object, name: str) -> str:
    """Return an id: 1 to 128 printable characters, at most 384 bytes."""
    found = _text(value, name, shortest=1, longest=MAX_ID_LENGTH)
    if len(found.encode()) > MAX_ID_BYTES:
        raise InvalidFieldError(f"{name} is longer than {MAX_ID_BYTES} bytes in UTF-8", name)
    return found


def text(value: object, name: str) -> str:
    """Return a text of at most 256 printable characters."""
    return _text(value, name, shortest=0, longest=MAX_TEXT_LENGTH)


def integer(value: object, name: str, *, largest: int) -> int:
    """Return a whole number from 0 to ``largest``, written without a fraction."""
    if type(value) is not int or not 0 <= value <= largest:
        raise InvalidFieldError(f"{name} is a whole number from 0 to {largest}", name)
    return value


def boolean(value: object, name: str) -> bool:
    """Return true or false."""
    if type(value) is not bool:
        raise InvalidFieldError(f"{name} is true or false", name)
    return value


def choice(value: object, name: str, known: Collection[str], what: str) -> str:
    """Return one of the known texts."""
    if not isinstance(value, str) or value not in known:
        raise InvalidFieldError(f"{name} is {what}", name)
    return value


def number(value: object, name: str) -> float:
    """Return a number as float64; the negative zero becomes zero."""
    if type(value) is not float and type(value) is not int:
        raise InvalidFieldError(f"{name} is a number", name)
    return float(value) + 0.0


def time_us(value: object, name: str, *, latest_us: int) -> int:
    """Return an RFC 3339 time with offset as microseconds since 1970 in UTC; finer digits are cut off."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise InvalidFieldError(f"{name} is a time with offset such as 2026-01-31T12:00:00Z", name)
    try:
        at = (datetime.fromisoformat(value.upper()) - _EPOCH) // _MICROSECOND
    except ValueError:
        raise InvalidFieldError(f"{name} is no time of the calendar", name) from None
    if not _EARLIEST_US <= at <= latest_us:
        raise InvalidFieldError(f"{name} is before the year 2000 or in the future", name)
    return at


def time_text(at_us: int) -> str:
    """Return microseconds since 1970 as RFC 3339 in UTC."""
    # Without a time zone: it is half as fast with one.
    return (_NAIVE_EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="microseconds") + "Z"


def _text(value: object, name: str, *, shortest: int, longest: int) -> str:
    if not isinstance(value, str) or not shortest <= len(value) <= longest or not value.isprintable():
        raise InvalidFieldError(f"{name} is a text of {shortest} to {longest} printable characters", name)
    return value
