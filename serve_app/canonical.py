"""The requests: raw bytes in, one canonical value out, and the digest that says "the same request".

Order, spacing, explicit nulls and the time's offset do not matter; anything else makes another request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, Final

import orjson

from fraud.features.spec import FeatureSet
from fraud.money import EXPONENTS
from fraud.schema import KINDS, SCORED_KINDS
from serve_app import fields
from serve_app.card_numbers import CardNumbers, refuse_sensitive_names
from serve_app.errors import InvalidFieldError, MissingFieldError, NotScoredError

MAX_AMOUNT_MINOR: Final = 1_000_000_000
"""Above it sums of squares would leave the exact range of the feature kernels."""

_CORE: Final = ("transaction_id", "event_time", "kind", "amount_minor", "currency", "attributes")
_BATCH: Final = ("transactions",)
_LABEL: Final = ("transaction_id", "is_fraud", "label_time", "source", "fraud_type")


@dataclass(frozen=True)
class Terms:
    """What a transaction may hold while a model serves.

    Attributes:
        feature_set: The model's: the attributes it reads must have their types.
        entities: Entity id fields a body may have.
        max_future_us: No event is later than that after the present, microseconds.
        card_numbers: Refuses them.
    """

    feature_set: FeatureSet
    entities: tuple[str, ...]
    max_future_us: int
    card_numbers: CardNumbers

    @cached_property
    def fields(self) -> frozenset[str]:
        """All fields a body may have."""
        return frozenset((*_CORE, *self.entities))

    @cached_property
    def attributes(self) -> frozenset[str]:
        """Those that the model reads."""
        return frozenset(self.feature_set.attributes)


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """A transaction, every field checked; absent and null are the same."""

    transaction_id: str
    event_time_us: int
    kind: str
    amount_minor: int
    currency: str
    entities: Mapping[str, str]
    attributes: Mapping[str, float | str]

    @property
    def event_date(self) -> date:
        """The UTC day of the event."""
        return datetime.fromtimestamp(self.event_time_us // 1_000_000, UTC).date()

    def canonical(self) -> bytes:
        """Return the request as JSON with sorted names, in the shape it could be posted again."""
        core = {
            "transaction_id": self.transaction_id,
            "event_time": fields.time_text(self.event_time_us),
            "kind": self.kind,
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "attributes": self.attributes,
        }
        return orjson.dumps({**self.entities, **core}, option=orjson.OPT_SORT_KEYS)


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """What became known about a transaction."""

    transaction_id: str
    is_fraud: bool
    label_time_us: int
    source: str
    fraud_type: str | None


def digest(canonical: bytes) -> bytes:
    """Return the SHA-256 of a canonical request, 32 bytes."""
    return hashlib.sha256(canonical).digest()


def scored_request(
    values: dict[str, Any], terms: Terms, *, now_us: int, is_suspect: bool
) -> TransactionRequest:
    """Read a transaction to score; the arguments and what is raised besides are those of ``event_request``.

    Raises:
        NotScoredError: It is of a kind that is not scored.
    """
    request = event_request(values, terms, now_us=now_us, is_suspect=is_suspect)
    if request.kind not in SCORED_KINDS:
        raise NotScoredError(
            f"only {' and '.join(SCORED_KINDS)} are scored: post it to /v1/events instead", "kind"
        )
    return request


def event_request(
    values: dict[str, Any], terms: Terms, *, now_us: int, is_suspect: bool
) -> TransactionRequest:
    """Read a transaction.

    Args:
        values: The object of the body.
        terms: What it may hold.
        now_us: The present, microseconds since 1970.
        is_suspect: Whether a card number could be in it, see ``card_numbers.suspects``.

    Raises:
        RequestError: One of its subclasses, naming the field and never its value.
    """
    if is_suspect:
        terms.card_numbers.refuse(values)
    fields.refuse_unknown(values, terms.fields)
    return TransactionRequest(
        transaction_id=fields.identifier(fields.required(values, "transaction_id"), "transaction_id"),
        event_time_us=fields.time_us(
            fields.required(values, "event_time"), "event_time", latest_us=now_us + terms.max_future_us
        ),
        kind=_kind(values.get("kind")),
        amount_minor=fields.integer(
            fields.required(values, "amount_minor"), "amount_minor", largest=MAX_AMOUNT_MINOR
        ),
        currency=fields.choice(
            fields.required(values, "currency"), "currency", EXPONENTS, "an ISO-4217 code such as EUR"
        ),
        entities={
            name: fields.identifier(values[name], name)
            for name in terms.entities
            if values.get(name) is not None
        },
        attributes=_attributes(values.get("attributes"), terms.feature_set),
    )


def batch(values: dict[str, Any], *, most: int) -> list[Any]:
    """Return the transactions of a batch, unread.

    Raises:
        RequestError: There are none, or more than ``most``.
    """
    fields.refuse_unknown(values, _BATCH)
    found = values.get("transactions")
    if not isinstance(found, list) or not found:
        raise MissingFieldError("transactions is a list of 1 and more", "transactions")
    if len(found) > most:
        raise InvalidFieldError(f"transactions is a list of at most {most}", "transactions")
    return found


def label_request(values: dict[str, Any], terms: Terms, *, now_us: int, is_suspect: bool) -> LabelRequest:
    """Read a label; its time is ``now_us`` unless it says so.

    Raises:
        RequestError: One of its subclasses, naming the field and never its value.
    """
    if is_suspect:
        terms.card_numbers.refuse(values)
    fields.refuse_unknown(values, _LABEL)
    label_time, source, fraud_type = (values.get(name) for name in ("label_time", "source", "fraud_type"))
    return LabelRequest(
        transaction_id=fields.identifier(fields.required(values, "transaction_id"), "transaction_id"),
        is_fraud=fields.boolean(fields.required(values, "is_fraud"), "is_fraud"),
        label_time_us=(
            now_us
            if label_time is None
            else fields.time_us(label_time, "label_time", latest_us=now_us + terms.max_future_us)
        ),
        source="api" if source is None else fields.identifier(source, "source"),
        fraud_type=None if fraud_type is None else fields.identifier(fraud_type, "fraud_type"),
    )


def _kind(value: object) -> str:
    return fields.choice("purchase" if value is None else value, "kind", KINDS, f"one of {', '.join(KINDS)}")


def _attributes(value: object, feature_set: FeatureSet) -> dict[str, float | str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidFieldError("attributes is an object of numbers and texts", "attributes")
    refuse_sensitive_names(value)
    return {
        fields.text(name, "attributes"): _attribute(name, given, feature_set)
        for name, given in value.items()
        if given is not None
    }


def _attribute(name: str, value: Any, feature_set: FeatureSet) -> float | str:
    if name in feature_set.numbers:
        return fields.number(value, f"attributes.{name}")
    if name in feature_set.texts or isinstance(value, str):
        return fields.text(value, "attributes" if name not in feature_set.texts else f"attributes.{name}")
    return fields.number(value, "attributes")
