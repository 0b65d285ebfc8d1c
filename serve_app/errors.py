"""Every answer of the service other than a success: a status, a stable code, a sentence, at most one field.

No message repeats a value of the request: it may be what must not be stored.
"""

from __future__ import annotations

from typing import ClassVar

import orjson

from fraud.errors import ServiceError


class RequestError(ServiceError):
    """The body cannot be used as it is."""

    code: ClassVar[str] = "invalid_request"
    status: ClassVar[int] = 422
    retry_after_s: ClassVar[int | None] = None

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message, field)
        self.message = message
        self.field = field

    def __str__(self) -> str:
        return self.message


class InvalidJsonError(RequestError):
    """The body is not one JSON object in UTF-8."""

    code: ClassVar[str] = "invalid_json"


class UnknownFieldError(RequestError):
    """A field that the endpoint does not have."""

    code: ClassVar[str] = "unknown_field"


class MissingFieldError(RequestError):
    """A required field is absent or null."""

    code: ClassVar[str] = "missing_field"


class InvalidFieldError(RequestError):
    """A field has another type or lies out of range."""

    code: ClassVar[str] = "invalid_field"


class CardNumberError(RequestError):
    """A value looks like a card number, which must not enter."""

    code: ClassVar[str] = "card_number"


class SensitiveFieldError(RequestError):
    """A name under which card verification values, PINs or tracks travel, which must not be kept."""

    code: ClassVar[str] = "sensitive_field"


class NotScoredError(RequestError):
    """Only purchases and verifications are scored."""

    code: ClassVar[str] = "not_scored"


class NoRateError(RequestError):
    """The settings hold no rate for the currency on that day."""

    code: ClassVar[str] = "no_rate"


class BodyTooLargeError(RequestError):
    """The body is longer than the operation allows."""

    code: ClassVar[str] = "body_too_large"
    status: ClassVar[int] = 413


class UnsupportedEncodingError(RequestError):
    """The body is compressed."""

    code: ClassVar[str] = "unsupported_encoding"
    status: ClassVar[int] = 415


class BodyTimeoutError(RequestError):
    """The body did not arrive within ``serve.body_timeout_s``."""

    code: ClassVar[str] = "body_timeout"
    status: ClassVar[int] = 408


class HeadersTooLargeError(RequestError):
    """The header block is longer than a request needs."""

    code: ClassVar[str] = "headers_too_large"
    status: ClassVar[int] = 431


class UnauthorizedError(RequestError):
    """No key, an unknown one or one that has expired: the answer is the same."""

    code: ClassVar[str] = "unauthorized"
    status: ClassVar[int] = 401


class ForbiddenError(RequestError):
    """The key has other scopes."""

    code: ClassVar[str] = "forbidden"
    status: ClassVar[int] = 403


class MethodNotAllowedError(RequestError):
    """The path is called by POST only."""

    code: ClassVar[str] = "method_not_allowed"
    status: ClassVar[int] = 405


class RateLimitedError(RequestError):
    """The key is over ``serve.rate_per_key_per_s``."""

    code: ClassVar[str] = "rate_limited"
    status: ClassVar[int] = 429
    retry_after_s: ClassVar[int | None] = 1


class OverloadedError(RequestError):
    """The replica works on ``serve.max_in_flight`` requests already."""

    code: ClassVar[str] = "overloaded"
    status: ClassVar[int] = 429
    retry_after_s: ClassVar[int | None] = 1


class UnknownDecisionError(RequestError):
    """There is no decision under that id here."""

    code: ClassVar[str] = "unknown_decision"
    status: ClassVar[int] = 404


class DifferentBodyError(RequestError):
    """The id was answered before, with another body."""

    code: ClassVar[str] = "conflict"
    status: ClassVar[int] = 409


class NotReadyError(RequestError):
    """The answer could not be made durable, or no model serves."""

    code: ClassVar[str] = "not_ready"
    status: ClassVar[int] = 503
    retry_after_s: ClassVar[int | None] = 1


class InternalError(RequestError):
    """Something that must not happen did; the log says what."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500


def error_body(code: str, message: str, field: str | None = None) -> bytes:
    """Return the one shape of an error on the wire."""
    return orjson.dumps({"error": {"code": code, "message": message, "field": field}})
