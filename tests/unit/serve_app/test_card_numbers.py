from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.card_numbers import holds_card_number, suspects
from serve_app.card_numbers import CardNumbers, refuse_sensitive_names
from serve_app.errors import CardNumberError, SensitiveFieldError

# Numbers the networks and gateways publish for tests, by issuer.
PUBLISHED = {
    "visa": "4111111111111111",
    "visa of 13": "4222222222222",
    "mastercard": "5555555555554444",
    "mastercard of 2017": "2223003122003222",
    "american express": "378282246310005",
    "diners club": "36227206271667",
    "discover": "6011111111111117",
    "jcb": "3530111333300000",
    "maestro": "6759649826438453",
    "unionpay": "6205500000000000004",
    "mir": "2200000000000004",
}
VISA = PUBLISHED["visa"]
BEGINNINGS = ("4", "51", "2221", "2720", "34", "37", "6011", "65", "3528", "3589", "36", "50", "62", "2204")
LENGTHS = {"34": 15, "37": 15, "36": 14}


def check_digit(digits: str) -> str:
    # Source: ISO/IEC 7812-1, annex B, over the digits from the right.
    doubled = [int(d) * 2 if at % 2 == 0 else int(d) for at, d in enumerate(reversed(digits))]
    return str(-sum(sum(divmod(value, 10)) for value in doubled) % 10)


def card_numbers(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)  # noqa: S311  made-up numbers
    made = []
    for _ in range(count):
        digits = rng.choice(BEGINNINGS)
        digits += "".join(rng.choices("0123456789", k=LENGTHS.get(digits, 16) - 1 - len(digits)))
        made.append(digits + check_digit(digits))
    return made


def is_refused(values: Mapping[str, Any], **formats: str) -> bool:
    try:
        CardNumbers(formats).refuse(values)
    except CardNumberError:
        return True
    return False


@pytest.mark.parametrize("number", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_every_issuer_is_known(number: str) -> None:
    assert holds_card_number(number)


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "3782 822463 10005",
        "41 11 11 11 11 11 11 11",
        "4111\u20131111\u20131111\u20131111",
        "4111 - 1111 - 1111 - 1111",
        "12 4111111111111111 of 3",
        "card:4111111111111111.",
        "PAN4111111111111111",
        "tok_4111111111111111",
        "\uff14\uff11\uff11\uff11" + "1" * 12,  # full width
        "  4111111111111111",
    ],
)
def test_written_otherwise_it_is_one_still(text: str) -> None:
    assert holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4111111111111112",  # wrong check digit
        "411111111111",  # 12 digits
        "41111111111111111111",  # 20 digits
        "1234567890123452",  # no issuer begins so
        "41111111111111114",  # no Visa has 17
        "1526372837123",  # milliseconds since 1970
        "1526372837123456",
        "2026-02-01T12:00:00.123456Z",
        "550e8400-e29b-4716-8716-446655440000",
        "order 4111111111111111111111aa-4111",  # a long hexadecimal word
        "4111.1111.1111.1111",
    ],
)
def test_other_texts_pass(text: str) -> None:
    assert not holds_card_number(text)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"card_id": VISA}, "card_id"),
        ({"amount_minor": int(VISA)}, "amount_minor"),
        ({"attributes": {"note": float(VISA)}}, "attributes"),
        ({"attributes": {"note": f"paid with {VISA}"}}, "attributes"),
        ({"attributes": {VISA: 1}}, "attributes"),
        ({"attributes": [["deep", {"deeper": VISA}]]}, "attributes"),
        ({VISA: 1}, None),
        ({f"name {VISA}": 1}, None),
        ({"Other1": VISA}, None),
    ],
)
def test_the_field_is_named_and_the_number_never(values: dict[str, Any], field: str | None) -> None:
    with pytest.raises(CardNumberError, match=r"send a token.*serve\.id_formats") as caught:
        CardNumbers({}).refuse(values)
    assert caught.value.field == field
    assert VISA not in str(caught.value)


def test_every_card_number_is_refused_in_every_field() -> None:
    # 1,000 of them by hand; the smaller number here keeps the test short.
    for number in card_numbers(100):
        grouped = " ".join((number[:4], number[4:8], number[8:12], number[12:]))
        for written in (number, grouped, grouped.replace(" ", "-")):
            body = orjson.dumps({"transaction_id": "t", "attributes": {"a": written}})
            assert suspects(body)
            for name in ("transaction_id", "card_id", "terminal_id", "currency", "kind"):
                assert is_refused({name: written})
            assert is_refused({"attributes": {"a": written}})
            assert is_refused({"attributes": {written: "a"}})
        assert is_refused({"attributes": {"a": int(number)}})


def test_uuids_and_declared_ids_are_never_refused() -> None:
    rng = random.Random(0)  # noqa: S311  made-up ids
    guard = CardNumbers({"transaction_id": "[0-9]{19}", "order": "[0-9]{16}"})
    for _ in range(5_000):
        guard.refuse({"transaction_id": str(uuid.UUID(int=rng.getrandbits(128), version=4))})
        guard.refuse({"transaction_id": f"{rng.randrange(10**18, 10**19)}"})
    guard.refuse({"transaction_id": f"{10**18}", "attributes": {"order": VISA}})


def test_a_format_counts_for_its_field_and_in_full_only() -> None:
    assert not is_refused({"order_id": VISA}, order_id="[0-9]{16}")
    assert not is_refused({"order_id": int(VISA)}, order_id="[0-9]{16}")
    assert is_refused({"order_id": f"{VISA} "}, order_id="[0-9]{16}")
    assert is_refused({"card_id": VISA}, order_id="[0-9]{16}")


@given(
    st.sampled_from(card_numbers(20, seed=1)),
    st.lists(st.sampled_from(["", " ", "-", "  ", " - "]), min_size=18, max_size=18),
    st.text('abc 019-.,"\\é', max_size=8),
    st.text('abc 019-.,"\\é', max_size=8),
)
def test_a_body_that_is_not_suspected_holds_none(
    number: str, separators: list[str], before: str, after: str
) -> None:
    written = "".join(digit + separator for digit, separator in zip(number, separators, strict=False))
    body = orjson.dumps({"attributes": {"a": f"{before}{written}{after}"}})
    assert suspects(body) or not is_refused(orjson.loads(body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":4111111111.111111e6}',
        b'{"a":"' + b"".join(b"\\u%04x" % ord(digit) for digit in VISA) + b'"}',
        '{"a":"\uff14111111111111111"}'.encode(),
    ],
)
def test_a_number_in_disguise_is_suspected(body: bytes) -> None:
    assert suspects(body)
    assert is_refused(orjson.loads(body))


def test_an_ordinary_body_is_not_suspected() -> None:
    assert not suspects(
        b'{"transaction_id":"tx-1047","event_time":"2026-01-31T12:00:00.123456Z","amount":4250}'
    )


@pytest.mark.parametrize("name", ["cvv", "CVC2", "card_cvv", "Track-1", "track2_data", "PIN", "pin_block"])
def test_sensitive_names_are_refused(name: str) -> None:
    with pytest.raises(SensitiveFieldError):
        refuse_sensitive_names({"channel": "web", name: "x"})


def test_features_about_pins_are_no_pins() -> None:
    refuse_sensitive_names({"pin_verified": 1, "is_pin_entered": 1, "track_record": 1, "pinterest_ad": 1})
