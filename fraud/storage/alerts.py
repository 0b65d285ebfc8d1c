"""Alerts: a table of the lake that says what somebody has to look at, each cause once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from fraud import schema
from fraud.errors import ChangedMeanwhileError
from fraud.storage.lake import Lake

ERROR: Final = "error"
"""Something is not done that has to be done."""
WARNING: Final = "warning"
"""Something is done, and may not be right."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What happened.

    Attributes:
        kind: Of cause, such as ``model_refused``.
        severity: ``error`` or ``warning``.
        subject: What it is about, such as ``models:/fraud/3``.
        message: What is wrong and what to do, for a person.
        occasion: Tells one occurrence from the next: the same kind and subject are told again on another
            occasion, such as another promotion or another day.
        actor: Who, or what, noticed.
        run_id: The run that noticed, where there is one.
    """

    kind: str
    severity: str
    subject: str
    message: str
    occasion: str
    actor: str
    run_id: str | None = None

    @property
    def id(self) -> str:
        """The same for the same kind, subject and occasion."""
        said = "\0".join((self.kind, self.subject, self.occasion))
        return hashlib.sha256(said.encode()).hexdigest()[:32]


def add(lake: Lake, alert: Alert) -> bool:
    """Note an alert unless it is noted already, whoever did; return whether it is new."""
    app = f"{schema.ALERTS}:{alert.id}"
    if lake.app_version(schema.ALERTS, app) is not None:
        return False
    row = {
        "id": alert.id,
        "at": datetime.now(UTC),
        "kind": alert.kind,
        "severity": alert.severity,
        "subject": alert.subject,
        "message": alert.message,
        "actor": alert.actor,
        "run_id": alert.run_id,
    }
    try:
        # Delta lets one writer have the number 1 of an id, whichever host it is on.
        rows = pa.Table.from_pylist([row], schema=schema.ALERTS_SCHEMA)
        lake.append_next(schema.ALERTS, rows, app=app, number=1)
    except ChangedMeanwhileError:
        return False
    return True


def entries(lake: Lake) -> list[dict[str, Any]]:
    """Return every row of ``schema.ALERTS_SCHEMA``, oldest first."""
    if not lake.exists(schema.ALERTS):
        return []
    return sorted(lake.read(schema.ALERTS).to_pylist(), key=lambda row: row["at"])
