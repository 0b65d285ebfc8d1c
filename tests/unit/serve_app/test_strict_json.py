from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serve_app.errors import InvalidJsonError
from serve_app.strict_json import read_object


class _RepeatedError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _RepeatedError
    return dict(pairs)


def oracle(body: bytes) -> dict[str, Any] | None:
    """Two parsers, one of which sees repeated names; None where the body is refused."""
    try:
        value = orjson.loads(body)
        json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and _depth(value) <= 8 and _longest(value) <= 500 else None


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _longest(value: Any) -> int:
    if isinstance(value, list):
        return max(len(value), *map(_longest, value), 0)
    return max(map(_longest, value.values()), default=0) if isinstance(value, dict) else 0


def strict(body: bytes) -> dict[str, Any] | None:
    try:
        return read_object(body)
    except InvalidJsonError:
        return None


strings = st.sampled_from(
    [
        '"a"',
        '"b"',
        '"\\u0061"',
        '""',
        '":"',
        '"a\\":"',
        '"\\\\"',
        '"\\\\\\""',
        '"{\\"a\\":1}"',
        '"é"',
        '"\\/"',
    ]
)
spaces = st.sampled_from(["", " ", "\n", "\t \r"])
scalars = st.sampled_from(["1", "-0.0", "1.5e3", "true", "null", "9" * 30]) | strings


def _object(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(strings, spaces, inner, spaces).map(lambda p: f"{p[0]}{p[1]}:{p[3]}{p[2]}")
    return st.lists(pair, max_size=4).map(lambda pairs: "{" + ",".join(pairs) + "}")


def _list(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")


texts = st.recursive(scalars, lambda inner: _object(inner) | _list(inner), max_leaves=12)


@settings(max_examples=500)
@given(_object(texts))
@example('{"a" :1,"a" :":x"}')
@example('{"a":1,"\\u0061":2}')
@example('{"a":"\\"","a":"\\\\"}')
def test_documents_are_read_as_by_two_parsers(text: str) -> None:
    assert strict(text.encode()) == oracle(text.encode())


@settings(max_examples=500)
@given(st.text('{}[]":,\\ab1 e', max_size=24))
def test_nonsense_is_read_as_by_two_parsers(text: str) -> None:
    assert strict(text.encode()) == oracle(text.encode())


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    assert strict(body) == oracle(body)


@pytest.mark.parametrize(
    ("depth", "is_read"), [(8, True), (9, False), (500, False), (5_000, False), (200_000, False)]
)
def test_nesting_stops_at_eight(depth: int, is_read: bool) -> None:
    lists = depth - 1
    assert (strict(b'{"a":' + b"[" * lists + b"]" * lists + b"}") is not None) == is_read


@pytest.mark.parametrize(("items", "is_read"), [(500, True), (501, False)])
def test_lists_stop_at_five_hundred(items: int, is_read: bool) -> None:
    assert (strict(orjson.dumps({"a": [0] * items})) is not None) == is_read


@pytest.mark.parametrize("digits", [400, 5_000])
def test_endless_numbers_are_refused(digits: int) -> None:
    assert strict(b'{"a":' + b"9" * digits + b"}") is None
