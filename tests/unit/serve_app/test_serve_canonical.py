from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from factories_serve import FEATURE_SET, transaction
from hypothesis import given
from hypothesis import strategies as st

from serve_app import canonical
from serve_app.canonical import LabelRequest, Terms, TransactionRequest, digest
from serve_app.card_numbers import CardNumbers
from serve_app.errors import InvalidJsonError, RequestError
from serve_app.strict_json import read_object

NOW_US = 1_800_000_000_000_000
VISA = "4111111111111111"  # the networks' published test numbers
AMEX = "378282246310005"


TERMS = Terms(FEATURE_SET, ("card_id", "terminal_id"), 0, CardNumbers({}))


def read(body: bytes) -> TransactionRequest:
    return canonical.scored_request(read_object(body), TERMS, now_us=NOW_US, is_suspect=True)


def label(body: bytes, now_us: int = NOW_US) -> LabelRequest:
    return canonical.label_request(read_object(body), TERMS, now_us=now_us, is_suspect=True)


def parse(**changes: Any) -> TransactionRequest:
    return read(orjson.dumps(transaction(**changes)))


def refusal(body: bytes) -> tuple[str, str | None]:
    with pytest.raises(RequestError) as caught:
        read(body)
    return caught.value.code, caught.value.field


def test_request_becomes_typed_values() -> None:
    request = parse(event_time="2026-02-01T13:00:00.123456789+01:00")
    assert request.event_time_us == 1769947200123456  # date -d 2026-02-01T12:00:00Z +%s
    assert request.kind == "purchase"
    assert request.entities == {"card_id": "tok-1", "terminal_id": "t-1"}
    assert request.attributes == {"channel": "web", "distance_km": 1.5}
    assert request.event_date.isoformat() == "2026-02-01"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b'"text"',
        b"{} {}",
        b"\xef\xbb\xbf{}",
        json.dumps(transaction()).encode("utf-16"),
        b'{"transaction_id":"\xff"}',
        b'{"transaction_id":"\\ud800"}',
        b'{"attributes":{"a":NaN}}',
        b'{"attributes":{"a":1e999}}',
        b'{"amount_minor":-Infinity}',
        b'{"amount_minor":1,"amount_minor":2}',
        b'{"attributes":{"a":1,"a":2}}',
        b"[" * 100_000,
        b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
def test_ambiguous_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJsonError):
        read(body)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"unknown": 1}, "unknown_field", None),
        ({"transaction_id": None}, "missing_field", "transaction_id"),
        ({"transaction_id": ""}, "invalid_field", "transaction_id"),
        ({"transaction_id": "x" * 129}, "invalid_field", "transaction_id"),
        ({"transaction_id": "\U00020000" * 128}, "invalid_field", "transaction_id"),
        ({"transaction_id": "a\u0000b"}, "invalid_field", "transaction_id"),
        ({"transaction_id": "a\u202eb"}, "invalid_field", "transaction_id"),
        ({"transaction_id": 7}, "invalid_field", "transaction_id"),
        ({"event_time": "2026-02-01T12:00:00"}, "invalid_field", "event_time"),
        ({"event_time": "2026-02-30T12:00:00Z"}, "invalid_field", "event_time"),
        ({"event_time": "2026-02-01T12:00:60Z"}, "invalid_field", "event_time"),
        ({"event_time": "0001-01-01T00:00:00+23:59"}, "invalid_field", "event_time"),
        ({"event_time": "1999-12-31T23:59:59Z"}, "invalid_field", "event_time"),
        ({"event_time": "2099-01-01T00:00:00Z"}, "invalid_field", "event_time"),
        ({"event_time": "٢٠٢٦-02-01T12:00:00Z"}, "invalid_field", "event_time"),
        ({"event_time": 1769947200}, "invalid_field", "event_time"),
        ({"kind": "gift"}, "invalid_field", "kind"),
        ({"kind": []}, "invalid_field", "kind"),
        ({"kind": "refund"}, "not_scored", "kind"),
        ({"amount_minor": -1}, "invalid_field", "amount_minor"),
        ({"amount_minor": 1_000_000_001}, "invalid_field", "amount_minor"),
        ({"amount_minor": 42.5}, "invalid_field", "amount_minor"),
        ({"amount_minor": "42"}, "invalid_field", "amount_minor"),
        ({"amount_minor": True}, "invalid_field", "amount_minor"),
        ({"currency": "eur"}, "invalid_field", "currency"),
        ({"currency": "XXX"}, "invalid_field", "currency"),
        ({"card_id": 5}, "invalid_field", "card_id"),
        ({"attributes": []}, "invalid_field", "attributes"),
        ({"attributes": {"distance_km": "near"}}, "invalid_field", "attributes.distance_km"),
        ({"attributes": {"channel": 3}}, "invalid_field", "attributes.channel"),
        ({"attributes": {"other": True}}, "invalid_field", "attributes"),
        ({"attributes": {"other": {"deep": 1}}}, "invalid_field", "attributes"),
        ({"card_id": VISA}, "card_number", "card_id"),
        ({"transaction_id": "4111 1111 1111 1111"}, "card_number", "transaction_id"),
        ({"attributes": {"note": f"paid with {AMEX}."}}, "card_number", "attributes"),
        ({"attributes": {"note": "3782-822463-10005"}}, "card_number", "attributes"),
        ({"attributes": {"note": int(VISA)}}, "card_number", "attributes"),
        ({"attributes": {"note": float(VISA)}}, "card_number", "attributes"),
        ({"attributes": {VISA: 1}}, "card_number", "attributes"),
    ],
)
def test_bad_field_is_named(changes: dict[str, Any], code: str, field: str | None) -> None:
    assert refusal(orjson.dumps(transaction(**changes))) == (code, field)


@pytest.mark.parametrize(
    "harmless",
    [
        "4111111111111112",  # wrong check digit
        "550e8400-e29b-4716-8716-446655440000",
        "411111111111",  # 12 digits
        1526372837123,  # milliseconds since 1970
        1526372837123456,
    ],
)
def test_other_long_numbers_pass(harmless: str | int) -> None:
    assert parse(attributes={"note": harmless}).attributes["note"] == harmless


def test_order_spacing_nulls_and_offset_do_not_change_the_request() -> None:
    plain = transaction()
    reordered = dict(reversed(plain.items()))
    other = {**reordered, "kind": "purchase", "event_time": "2026-02-01T14:00:00.000+02:00"}
    other["attributes"] = {"distance_km": 1.5, "colour": None, "channel": "web"}
    body = json.dumps({**other}, indent=2).encode()
    assert digest(read(body).canonical()) == digest(read(orjson.dumps(plain)).canonical())


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 4251},
        {"currency": "USD"},
        {"event_time": "2026-02-01T12:00:00.000001Z"},
        {"kind": "verification"},
        {"card_id": "tok-2"},
        {"card_id": None},
        {"attributes": {"channel": "web"}},
        {"attributes": {"channel": "web", "distance_km": 1.5, "new": 1}},
    ],
)
def test_any_other_difference_makes_another_request(changes: dict[str, Any]) -> None:
    assert digest(parse(**changes).canonical()) != digest(parse().canonical())


def test_canonical_request_can_be_posted_again() -> None:
    request = parse(attributes={"channel": "ünïcode", "distance_km": -0.0})
    assert read(request.canonical()) == request


def test_negative_zero_is_zero() -> None:
    body = orjson.dumps(transaction()).replace(b"1.5", b"-0.0")
    assert b'"distance_km":0.0' in read(body).canonical()


def test_label_takes_the_present_as_its_time() -> None:
    said = label(b'{"transaction_id":"t","is_fraud":true}', now_us=77)
    assert (said.label_time_us, said.source, said.fraud_type) == (77, "api", None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"transaction_id":"t"}', "missing_field"),
        (b'{"transaction_id":"t","is_fraud":1}', "invalid_field"),
        (b'{"transaction_id":"t","is_fraud":"true"}', "invalid_field"),
        (b'{"transaction_id":"t","is_fraud":true,"label_time":"2099-01-01T00:00:00Z"}', "invalid_field"),
        (b'{"transaction_id":"t","is_fraud":true,"source":""}', "invalid_field"),
        (b'{"transaction_id":"t","is_fraud":true,"score":1}', "unknown_field"),
        (b'{"transaction_id":"4111111111111111","is_fraud":true}', "card_number"),
    ],
)
def test_bad_label_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        label(body)
    assert caught.value.code == code


texts = st.text("aZ09 -\x00\u202e\ud800é", max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*transaction(), "kind", "other"]), json_values))
def test_any_json_is_read_or_refused(changes: dict[str, Any]) -> None:
    body = json.dumps({**transaction(), **changes}).encode()
    with suppress(RequestError):
        read(body)
