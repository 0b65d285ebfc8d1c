"""The requests: raw bytes in, one canonical value out, and the digest that says "the same request".

Order, spacing, explicit nulls and the time's offset do not matter; anything else makes another request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import orjson

from fraud.features.spec import FeatureSet
from fraud.money import EXPONENTS
from fraud.schema import KINDS, SCORED_KINDS
from serve_app import fields
from serve_app.errors import InvalidFieldError, NotScoredError
from serve_app.strict_json import read_object, refuse_card_numbers

MAX_AMOUNT_MINOR: Final = 1_000_000_000
"""Above it sums of squares would leave the exact range of the feature kernels."""

_CORE: Final = ("transaction_id", "event_time", "kind", "amount_minor", "currency", "attributes")
_LABEL: Final = ("transaction_id", "is_fraud", "label_time", "source", "fraud_type")


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """A transaction to score, every field checked; absent and null are the same."""

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


def score_request(
    body: bytes, *, feature_set: FeatureSet, entities: Collection[str], latest_us: int
) -> ScoreRequest:
    """Read a transaction.

    Args:
        body: The bytes as received.
        feature_set: The model's: the attributes it reads must have their types.
        entities: Entity id fields the body may have.
        latest_us: No event is later, microseconds since 1970.

    Raises:
        RequestError: One of its subclasses, naming the field and never its value.
    """
    values = read_object(body)
    fields.refuse_unknown(values, {*_CORE, *entities})
    refuse_card_numbers(values)
    return ScoreRequest(
        transaction_id=fields.identifier(fields.required(values, "transaction_id"), "transaction_id"),
        event_time_us=fields.time_us(
            fields.required(values, "event_time"), "event_time", latest_us=latest_us
        ),
        kind=_kind(values.get("kind")),
        amount_minor=fields.integer(
            fields.required(values, "amount_minor"), "amount_minor", largest=MAX_AMOUNT_MINOR
        ),
        currency=fields.choice(
            fields.required(values, "currency"), "currency", EXPONENTS, "an ISO-4217 code such as EUR"
        ),
        entities={
            name: fields.identifier(values[name], name) for name in entities if values.get(name) is not None
        },
        attributes=_attributes(values.get("attributes"), feature_set),
    )


def label_request(body: bytes, *, now_us: int, latest_us: int) -> LabelRequest:
    """Read a label; its time is ``now_us`` unless it says so.

    Raises:
        RequestError: One of its subclasses, naming the field and never its value.
    """
    values = read_object(body)
    fields.refuse_unknown(values, _LABEL)
    refuse_card_numbers(values)
    label_time, source, fraud_type = (values.get(name) for name in ("label_time", "source", "fraud_type"))
    return LabelRequest(
        transaction_id=fields.identifier(fields.required(values, "transaction_id"), "transaction_id"),
        is_fraud=fields.boolean(fields.required(values, "is_fraud"), "is_fraud"),
        label_time_us=(
            now_us if label_time is None else fields.time_us(label_time, "label_time", latest_us=latest_us)
        ),
        source="api" if source is None else fields.identifier(source, "source"),
        fraud_type=None if fraud_type is None else fields.identifier(fraud_type, "fraud_type"),
    )


def _kind(value: object) -> str:
    kind = fields.choice("purchase" if value is None else value, "kind", KINDS, f"one of {', '.join(KINDS)}")
    if kind not in SCORED_KINDS:
        raise NotScoredError(f"only {' and '.join(SCORED_KINDS)} are scored", "kind")
    return kind


def _attributes(value: object, feature_set: FeatureSet) -> dict[str, float | str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidFieldError("attributes is an object of numbers and texts", "attributes")
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
