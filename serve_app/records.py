"""The journal's records of what is posted besides transactions to score; those are the decider's."""

from __future__ import annotations

import orjson

from serve_app import fields
from serve_app.canonical import LabelRequest
from serve_app.decider import Asked


def event(asked: Asked) -> bytes:
    """Return the record of a transaction that is not to be scored."""
    return orjson.dumps(
        {
            "record": "event",
            "request": orjson.Fragment(asked.request),
            "amount_base_minor": asked.transaction.amount_base_minor,
            "caller": asked.caller,
            "received_at": fields.time_text(asked.started_us),
        }
    )


def label(said: LabelRequest, *, known: bool, received_at_us: int, caller: str) -> bytes:
    """Return the record of a label.

    Args:
        said: The label.
        known: Whether its transaction was known then.
        received_at_us: When it came, microseconds since 1970.
        caller: The id of the API key.
    """
    return orjson.dumps(
        {
            "record": "label",
            "transaction_id": said.transaction_id,
            "is_fraud": said.is_fraud,
            "label_time": fields.time_text(said.label_time_us),
            "source": said.source,
            "fraud_type": said.fraud_type,
            "known": known,
            "received_at": fields.time_text(received_at_us),
            "caller": caller,
        }
    )
