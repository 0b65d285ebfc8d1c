"""Journal records of transactions that an online state is asked about."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from fraud.features.online import OnlineTransaction
from fraud.storage.journal import Journal


def canonical(transaction: OnlineTransaction) -> bytes:
    """The canonical request of a transaction."""
    request = {
        **{name: value for name, value in transaction.entities.items() if value is not None},
        "transaction_id": transaction.transaction_id,
        "event_time": time_text(transaction.event_time_us),
        "kind": transaction.kind,
        "amount_minor": transaction.amount_minor,
        "currency": transaction.currency,
        "attributes": dict(transaction.attributes),
    }
    return orjson.dumps(request, option=orjson.OPT_SORT_KEYS)


def decision(transaction: OnlineTransaction, decided_at: datetime | None = None, **answer: Any) -> bytes:
    """A record with what a state needs of it."""
    at = decided_at or datetime.now(UTC)
    return orjson.dumps(
        {
            "record": "decision",
            "request": orjson.Fragment(canonical(transaction)),
            "amount_base_minor": transaction.amount_base_minor,
            "answer": {"transaction_id": transaction.transaction_id, **answer, "decided_at": at},
        }
    )


def event(transaction: OnlineTransaction) -> bytes:
    """The record of a transaction that was not to be scored."""
    return orjson.dumps(
        {
            "record": "event",
            "request": orjson.Fragment(canonical(transaction)),
            "amount_base_minor": transaction.amount_base_minor,
            "caller": "key",
            "received_at": datetime.now(UTC),
        }
    )


def label(transaction_id: str, label_time: datetime, *, is_fraud: bool = True) -> bytes:
    """The record of a label."""
    return orjson.dumps(
        {
            "record": "label",
            "transaction_id": transaction_id,
            "is_fraud": is_fraud,
            "label_time": label_time,
            "source": "api",
        }
    )


def segment(folder: Path, records: Sequence[bytes]) -> None:
    """Write a segment of its own."""

    async def write() -> None:
        journal = Journal(folder)
        for record in records:
            await journal.write(record)
        await journal.close()

    asyncio.run(write())


def time_text(at_us: int) -> str:
    """Microseconds since 1970 as requests have them."""
    at = datetime.fromtimestamp(at_us // 1_000_000, UTC).replace(microsecond=at_us % 1_000_000)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
