"""Journals as the endpoint writes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from factories_policy import make_policy

from fraud.storage.journal import Journal

NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)
MODEL = {"name": "fraud", "version": "1", "digest": "d" * 64}


def text(at: datetime) -> str:
    """A time as the endpoint writes it."""
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def request(transaction_id: str, **changes: Any) -> dict[str, Any]:
    """A canonical request, with changes; None leaves a field out."""
    body = {
        "transaction_id": transaction_id,
        "event_time": text(NOON),
        "kind": "purchase",
        "amount_minor": 4250,
        "currency": "EUR",
        "card_id": "c1",
        "terminal_id": "m1",
        "attributes": {},
        **changes,
    }
    return {name: value for name, value in sorted(body.items()) if value is not None}


def decision(
    transaction_id: str,
    *,
    verdict: str = "approve",
    features: Sequence[float | None] | None = (1.0, None),
    degraded: str | None = None,
    decided_at: datetime = NOON + timedelta(milliseconds=20),
    reasons: Iterable[str] = (),
    base: int | None = None,
    **changes: Any,
) -> bytes:
    """The record of an answered transaction; ``changes`` are the request's."""
    asked = request(transaction_id, **changes)
    score = None if degraded else 0.25
    policy = make_policy("p1")
    answer = {
        "transaction_id": transaction_id,
        "score": score,
        "probability": score,
        "decision": verdict,
        "reasons": [{"code": code, "analyst": "a", "customer": "c"} for code in reasons],
        "degraded": degraded is not None,
        "model": MODEL,
        "policy_version": "p1",
        "features_version": "f1",
        "decided_at": text(decided_at),
    }
    return orjson.dumps(
        {
            "record": "decision",
            "request": asked,
            "amount_base_minor": asked["amount_minor"] if base is None else base,
            "features": None if degraded else features,
            "answer": answer,
            "policy": policy.to_json(),
            "policy_digest": policy.digest,
            "code_version": "v1",
            "caller": "key-1",
            "degraded": degraded,
            "latency_us": 900,
        }
    )


def event(transaction_id: str, *, received_at: datetime = NOON, **changes: Any) -> bytes:
    """The record of a transaction that is not to be scored."""
    asked = request(transaction_id, **changes)
    return orjson.dumps(
        {
            "record": "event",
            "request": asked,
            "amount_base_minor": asked["amount_minor"],
            "caller": "key-1",
            "received_at": text(received_at),
        }
    )


def label(
    transaction_id: str,
    *,
    is_fraud: bool = True,
    label_time: datetime = NOON + timedelta(days=3),
    source: str = "api",
) -> bytes:
    """The record of a posted label."""
    return orjson.dumps(
        {
            "record": "label",
            "transaction_id": transaction_id,
            "is_fraud": is_fraud,
            "label_time": text(label_time),
            "source": source,
            "fraud_type": None,
            "known": True,
            "received_at": text(label_time),
            "caller": "key-1",
        }
    )


def shadow(transaction_id: str, *, version: str = "2") -> bytes:
    """The record of a challenger's opinion."""
    return orjson.dumps(
        {
            "record": "shadow",
            "transaction_id": transaction_id,
            "event_time": text(NOON),
            "score": 0.5,
            "probability": 0.5,
            "decision": "review",
            "model": {**MODEL, "version": version},
            "policy_version": "p1",
            "features_version": "f1",
            "scored_at": text(NOON + timedelta(seconds=1)),
        }
    )


def write(folder: Path, records: Iterable[bytes], **options: Any) -> None:
    """Write records with a journal of their own, and close it."""

    async def scenario() -> None:
        journal = Journal(folder, **options)
        for record in records:
            await journal.write(record)
        await journal.close()

    asyncio.run(scenario())
