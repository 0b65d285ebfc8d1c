"""What the service says about itself: bodies, answers and errors as the client sees them.

The hot routes read raw bytes, so their bodies are described here; the models below are documentation, the
checks are in ``serve_app.canonical``.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from fraud.schema import KINDS, SCORED_KINDS
from serve_app.canonical import MAX_AMOUNT_MINOR
from serve_app.fields import MAX_ID_LENGTH
from serve_app.settings import ServeSettings

TRANSACTION: Final = {
    "transaction_id": "tx-1047",
    "event_time": "2026-01-31T12:00:00Z",
    "kind": "purchase",
    "amount_minor": 4250,
    "currency": "EUR",
    "card_id": "tok_8f3a",
    "terminal_id": "t-77",
    "attributes": {"channel": "web"},
}
EVENT: Final = {**TRANSACTION, "transaction_id": "tx-1048", "kind": "refund"}
LABEL: Final = {
    "transaction_id": "tx-1047",
    "is_fraud": True,
    "label_time": "2026-02-07T09:30:00Z",
    "source": "chargeback",
}
_ANSWER: Final[JsonDict] = {
    "transaction_id": "tx-1047",
    "score": 0.914,
    "probability": 0.62,
    "decision": "review",
    "reasons": [
        {
            "code": "CARD_VELOCITY",
            "analyst": "transactions of this card in 24 h: 14, usually 2",
            "customer": "Unusual number of payments with this card",
        }
    ],
    "degraded": False,
    "model": {"name": "fraud", "version": "3", "digest": "5d41402abc4b2a76"},
    "policy_version": "9b74c989",
    "features_version": "1a79a4d6",
    "decided_at": "2026-01-31T12:00:00.120000Z",
}


class _Document(BaseModel):
    model_config = ConfigDict(protected_namespaces=())


class Model(_Document):
    """Which model decided."""

    name: str
    version: str
    digest: str = Field(description="SHA-256 of the model bundle.")


class Reason(_Document):
    """One cause of a review or a decline."""

    code: str = Field(description="Stable: the same whatever a feature is called and how far it looks back.")
    analyst: str = Field(description="For the fraud team only: with the value, and what is usual.")
    customer: str = Field(description="For the cardholder, in serve.reasons_language: no value, no limit.")


class Decision(_Document):
    """The stored answer: the same request gets the same bytes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ANSWER]})

    transaction_id: str
    score: float | None = Field(ge=0, le=1, description="The model's output; null where degraded.")
    probability: float | None = Field(ge=0, le=1, description="Calibrated probability of fraud.")
    decision: Literal["approve", "review", "decline"]
    reasons: list[Reason] = Field(description="What raised the score, strongest first; empty for approve.")
    degraded: bool = Field(description="Decided by the policy's fallback: there was no score in time.")
    model: Model
    policy_version: str
    features_version: str
    decided_at: str = Field(description="RFC 3339 in UTC.")


class Accepted(_Document):
    """What was posted is on disk."""

    transaction_id: str
    accepted: bool
    known: bool = Field(description="Whether the service had seen the transaction before.")


class Problem(_Document):
    """What is wrong; values of the request are never repeated."""

    code: str = Field(description="Stable; the sentence may change.")
    message: str
    field: str | None = Field(description="The field to correct, null where it is none in particular.")


class ErrorAnswer(_Document):
    """The shape of every error."""

    error: Problem


class Answers(_Document):
    """One answer or error a transaction, in their order."""

    answers: list[Decision | ErrorAnswer]


_REQUIRED: Final = ["transaction_id", "event_time", "amount_minor", "currency"]
_CODES: Final[dict[int, tuple[str, str]]] = {
    401: ("unauthorized", "No key, or none that is valid."),
    403: ("forbidden", "The key has another scope."),
    404: ("unknown_decision", "There is no such decision here."),
    405: ("method_not_allowed", "The path is called by POST."),
    408: ("body_timeout", "The body did not arrive in time."),
    409: ("conflict", "This transaction_id came before, with another body."),
    413: ("body_too_large", "The body is longer than allowed."),
    415: ("unsupported_encoding", "The body is compressed."),
    422: (
        "invalid_json, unknown_field, missing_field, invalid_field, card_number, sensitive_field, "
        "not_scored, no_rate",
        "The body cannot be used as it is.",
    ),
    429: ("rate_limited, overloaded", "Too many requests: wait as long as the header Retry-After says."),
    431: ("headers_too_large", "The headers are longer than 8 KiB."),
    500: ("internal", "The service failed: send the same request again."),
    503: ("not_ready", "The answer could not be made durable: send the same request again."),
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route."""
    return {
        status: {"model": ErrorAnswer, "description": f"{_CODES[status][1]} Codes: {_CODES[status][0]}."}
        for status in statuses
    }


def not_ready() -> dict[int | str, dict[str, Any]]:
    """Describe what a replica answers that should get no requests."""
    return {503: {"description": "Requests should not come here; `problems` says why."}}


def operations(settings: ServeSettings) -> dict[str, dict[str, Any]]:
    """Return what FastAPI is told of each path that is posted to."""
    refusals = responses(*(status for status in _CODES if status != HTTPStatus.NOT_FOUND))
    score = {name: value for name, value in _transaction(settings).items() if name != "kind"}
    one = {"kind": _kind(SCORED_KINDS), **score}
    return {
        "/v1/score": {
            "summary": "Decide one transaction",
            "response_model": Decision,
            "responses": refusals,
            "openapi_extra": _body(one, required=_REQUIRED, example=TRANSACTION),
        },
        "/v1/score/batch": {
            "summary": "Decide several transactions at once",
            "response_model": Answers,
            "responses": refusals,
            "openapi_extra": _body(
                {
                    "transactions": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": settings.max_batch_rows,
                        "items": _object(one, _REQUIRED),
                    }
                },
                required=["transactions"],
                example={"transactions": [TRANSACTION]},
            ),
        },
        "/v1/events": {
            "summary": "Record a transaction that is not to be scored",
            "status_code": HTTPStatus.ACCEPTED,
            "response_model": Accepted,
            "responses": refusals,
            "openapi_extra": _body(_transaction(settings), required=_REQUIRED, example=EVENT),
        },
        "/v1/labels": {
            "summary": "Tell what became known about a transaction",
            "status_code": HTTPStatus.ACCEPTED,
            "response_model": Accepted,
            "responses": {
                status: shape for status, shape in refusals.items() if status != HTTPStatus.CONFLICT
            },
            "openapi_extra": _body(_LABEL_FIELDS, required=["transaction_id", "is_fraud"], example=LABEL),
        },
    }


def _transaction(settings: ServeSettings) -> dict[str, Any]:
    return {
        "transaction_id": _identifier("The same id with the same body gets the same answer."),
        "event_time": _time("When the transaction happened."),
        "kind": _kind(KINDS),
        "amount_minor": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_AMOUNT_MINOR,
            "description": "In minor units of the currency: 4250 is 42.50 EUR.",
        },
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO-4217 code."},
        **{name: _identifier("A token, never a card number.", "null") for name in settings.entities},
        "attributes": {
            "type": ["object", "null"],
            "additionalProperties": {"type": ["number", "string", "null"]},
            "description": "What the model may read by name, see /v1/schema; others are kept and ignored.",
        },
    }


def _kind(kinds: Sequence[str]) -> dict[str, Any]:
    return {"type": ["string", "null"], "enum": [*kinds, None], "default": "purchase"}


def _body(properties: dict[str, Any], *, required: list[str], example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": _object(properties, required), "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _identifier(description: str, *also: str) -> dict[str, Any]:
    return {
        "type": ["string", *also] if also else "string",
        "minLength": 1,
        "maxLength": MAX_ID_LENGTH,
        "description": description,
    }


def _time(description: str) -> dict[str, Any]:
    return {"type": "string", "format": "date-time", "description": f"{description} RFC 3339 with offset."}


_LABEL_FIELDS: Final = {
    "transaction_id": _identifier("Of the labelled transaction."),
    "is_fraud": {"type": "boolean"},
    "label_time": {**_time("When it became known; now unless given."), "type": ["string", "null"]},
    "source": {**_identifier("Who says so.", "null"), "default": "api"},
    "fraud_type": _identifier("A name for the kind of fraud.", "null"),
}
