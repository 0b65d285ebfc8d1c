"""Reading a JSON body strictly: what two parsers could read differently is refused."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from serve_app.errors import InvalidJsonError

MAX_DEPTH: Final = 8
MAX_ITEMS: Final = 500

_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)


def read_object(body: bytes) -> dict[str, Any]:
    """Return the one JSON object of a body.

    Not-a-number, infinities, lone surrogates, a byte order mark, other encodings than UTF-8, trailing data,
    repeated names, objects and lists in each other more than 8 deep and lists of more than 500 are refused.

    Raises:
        InvalidJsonError: It is not such an object.
    """
    try:
        value = orjson.loads(body)
    except ValueError:
        raise InvalidJsonError("the body is not valid JSON in UTF-8") from None
    if type(value) is not dict:
        raise InvalidJsonError("the body is not a JSON object")
    # The parser keeps the last of repeated names. Then the text has more strings than the object:
    # every string of the text has two quotes, besides those that are escaped.
    bare = _ESCAPE.sub(b"", body) if b"\\" in body else body
    if bare.count(b'"') != 2 * _strings(value, MAX_DEPTH):
        raise InvalidJsonError("the body repeats a name: write every field once")
    return value


def _strings(value: dict[str, Any] | list[Any], depth: int) -> int:
    """How many strings are in an object or a list, names counted too."""
    if depth == 0:
        raise InvalidJsonError(f"the body is deeper than {MAX_DEPTH} levels")
    count = 0
    if type(value) is dict:
        count = len(value)
        items: Any = value.values()
    else:
        if len(value) > MAX_ITEMS:
            raise InvalidJsonError(f"a list of the body has more than {MAX_ITEMS} items")
        items = value
    for item in items:
        kind = type(item)
        if kind is str:
            count += 1
        elif kind is dict or kind is list:
            count += _strings(item, depth - 1)
    return count
