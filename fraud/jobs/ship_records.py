"""The records of the journal, and the rows of the lake that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from fraud import schema
from fraud.features.spec import FeatureSet
from fraud.mapping.ids import tie
from fraud.model.policy import DECLINE

_CORE: Final = ("transaction_id", "event_time", "kind", "amount_minor", "currency", "attributes")
"""Of a request; its other fields are entity ids."""

_MODEL: Final = ("name", "version", "digest")

_PLAIN: Final = frozenset({*schema.CORE_COLUMNS, "ingest_id", schema.PARTITION})
"""The columns of ``transactions`` that are neither entities nor attributes."""


class Model(msgspec.Struct, frozen=True, gc=False):
    """Which model decided."""

    name: str
    version: str
    digest: str


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Of a reason as answered, what is kept apart."""

    code: str


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Of an answer, what is kept apart."""

    transaction_id: str
    score: float | None
    probability: float | None
    decision: str
    reasons: list[Reason]
    model: Model
    policy_version: str
    features_version: str
    decided_at: datetime


class Decision(msgspec.Struct, gc=False, tag_field="record", tag="decision"):
    """A transaction and its answer, with everything to decide again."""

    request: msgspec.Raw
    amount_base_minor: int
    caller: str
    features: list[float | None] | None
    answer: msgspec.Raw
    policy: msgspec.Raw
    policy_digest: str
    degraded: str | None
    code_version: str
    latency_us: int


class Event(msgspec.Struct, gc=False, tag_field="record", tag="event"):
    """A transaction that is not scored."""

    request: msgspec.Raw
    amount_base_minor: int
    caller: str
    received_at: datetime


class Label(msgspec.Struct, gc=False, tag_field="record", tag="label"):
    """What became known about a transaction."""

    transaction_id: str
    is_fraud: bool
    label_time: datetime
    source: str
    fraud_type: str | None


class Shadow(msgspec.Struct, gc=False, tag_field="record", tag="shadow"):
    """What a challenger would have decided."""

    transaction_id: str
    event_time: datetime
    score: float
    probability: float
    decision: str
    model: Model
    policy_version: str
    features_version: str
    scored_at: datetime


Record = Decision | Event | Label | Shadow

_decoder = msgspec.json.Decoder(Record)
_answers = msgspec.json.Decoder(Answer)
_requests = msgspec.json.Decoder(dict[str, Any])


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record and its place.

    Attributes:
        segment: The name of its segment.
        offset: Of the byte after it.
        raw: As it is in the journal.
        record: What it says.
        asked: The request of a decision or an event, its ``event_time`` read.
        answer: The answer of a decision.
    """

    segment: str
    offset: int
    raw: bytes
    record: Record
    asked: Mapping[str, Any]
    answer: Answer | None

    @property
    def ingest_id(self) -> str:
        """What rows from it carry."""
        return f"{schema.ENDPOINT}{self.segment}"

    @property
    def is_declined(self) -> bool:
        """Whether the truth of its transaction will never be seen."""
        return self.answer is not None and self.answer.decision == DECLINE

    @property
    def arrived(self) -> datetime:
        """When the endpoint knew of its transaction."""
        return self.record.received_at if isinstance(self.record, Event) else self.decided.decided_at

    @property
    def decided(self) -> Answer:
        """The answer of a decision."""
        assert self.answer is not None  # noqa: S101 - only decisions are asked
        return self.answer


def read(segment: str, offset: int, raw: bytes) -> Entry:
    """Read a record in full.

    Raises:
        ValueError: It is no record of this release.
    """
    try:
        record = _decoder.decode(raw)
        answer = _answers.decode(record.answer) if isinstance(record, Decision) else None
        asked = _asked(record.request) if isinstance(record, Decision | Event) else {}
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError("this is no record of this release") from error
    return Entry(segment, offset, raw, record, asked, answer)


def _asked(request: msgspec.Raw) -> dict[str, Any]:
    asked: dict[str, Any] = _requests.decode(request)
    if missing := [name for name in _CORE if name not in asked]:
        raise KeyError(missing[0])
    asked["event_time"] = datetime.fromisoformat(asked["event_time"])
    return asked


def decisions(entries: Sequence[Entry], shipped_at: datetime) -> pa.Table:
    """Return rows of ``decisions``."""
    records = [entry.record for entry in entries if isinstance(entry.record, Decision)]
    answers = [entry.decided for entry in entries]
    times = pa.array([entry.asked["event_time"] for entry in entries], schema.TIME)
    columns = {
        **_attributes(records, "amount_base_minor", "features", "policy_digest", "code_version", "caller"),
        **_attributes(records, "degraded", "latency_us"),
        **_attributes(answers, "transaction_id", "decided_at", "score", "probability", "decision"),
        **_attributes(answers, "policy_version", "features_version"),
        **{
            name: [bytes(getattr(each, name)) for each in records] for name in ("request", "answer", "policy")
        },
        **{f"model_{name}": [getattr(each.model, name) for each in answers] for name in _MODEL},
        "reasons": [[reason.code for reason in each.reasons] for each in answers],
        "event_time": times,
        "shipped_at": [shipped_at] * len(entries),
        schema.PARTITION: _days(times),
    }
    return pa.Table.from_pydict(columns, schema=schema.DECISIONS_SCHEMA)


def transactions(
    entries: Sequence[Entry], kind: pa.Schema, featurized: frozenset[date]
) -> tuple[pa.Table, int]:
    """Return rows of ``transactions``, as ingest would have made them of a file.

    A transaction whose day was featurized before is late: it is known from when it arrived here, and no
    feature that was served before changes. A declined one has that status from the decision on.

    Args:
        entries: Of decisions and events.
        kind: The table's columns.
        featurized: Days whose features were computed before.

    Returns:
        The rows, and how many entity ids and attributes the table has no column for, or another type of.
    """
    asked = [entry.asked for entry in entries]
    event_times = [each["event_time"] for each in asked]
    times = pa.array(event_times, schema.TIME)
    days = _days(times)
    is_late = [day in featurized for day in days.to_pylist()] if featurized else [False] * len(entries)
    known_at = [
        max(at, entry.arrived) if late else at
        for entry, at, late in zip(entries, event_times, is_late, strict=True)
    ]
    ids = pa.array([each["transaction_id"] for each in asked], pa.string())
    columns: dict[str, Any] = {
        "transaction_id": ids,
        "event_time": times,
        "known_at": known_at,
        "status": [schema.DECLINED if entry.is_declined else None for entry in entries],
        "status_time": [entry.arrived if entry.is_declined else None for entry in entries],
        **{name: [each[name] for each in asked] for name in ("kind", "amount_minor", "currency")},
        **_attributes([entry.record for entry in entries], "amount_base_minor"),
        "tie": tie(ids),
        "ingest_id": [entry.ingest_id for entry in entries],
        schema.PARTITION: days,
    }
    unread = sum(len(each) - len(_CORE) + len(each["attributes"]) for each in asked)
    for one in kind:
        if one.name not in _PLAIN:
            is_text = pa.types.is_string(one.type)
            columns[one.name] = [_value(each, one.name, is_text=is_text) for each in asked]
            unread -= len(entries) - columns[one.name].count(None)
    return pa.Table.from_pydict(columns, schema=kind), unread


def _value(asked: Mapping[str, Any], name: str, *, is_text: bool) -> float | str | None:
    """An entity id or attribute, None where it is missing or of another type than the column."""
    value: float | str | None = asked.get(name, asked["attributes"].get(name))
    return value if isinstance(value, str) == is_text else None


def _attributes(items: Sequence[Any], *names: str) -> dict[str, list[Any]]:
    return {name: [getattr(item, name) for item in items] for name in names}


def _days(times: pa.Array) -> pa.Array:
    return pc.floor_temporal(times, unit="day").cast(pa.date32())


def transactions_schema(feature_set: FeatureSet) -> pa.Schema:
    """Return the columns of ``transactions`` in a lake that had none: what the features read."""
    attributes = dict.fromkeys(feature_set.numbers, pa.float64())
    attributes |= dict.fromkeys(feature_set.texts, pa.string())
    return schema.transactions(feature_set.entities, attributes)


def labels(entries: Sequence[Entry]) -> pa.Table:
    """Return what labels say: the columns of ``labels`` but event time and entities."""
    kind = schema.labels([])
    kind = kind.remove(kind.get_field_index("event_time"))
    records = [entry.record for entry in entries]
    columns = _attributes(records, *(name for name in kind.names if name != "ingest_id"))
    return pa.Table.from_pydict({**columns, "ingest_id": [entry.ingest_id for entry in entries]}, schema=kind)


def shadows(entries: Sequence[Entry]) -> pa.Table:
    """Return rows of ``scores``."""
    records = [entry.record for entry in entries if isinstance(entry.record, Shadow)]
    times = pa.array([each.event_time for each in records], schema.TIME)
    columns = {
        **_attributes(records, "transaction_id", "score", "probability", "decision", "policy_version"),
        **_attributes(records, "features_version", "scored_at"),
        "event_time": times,
        "model_version": [each.model.version for each in records],
        "model_digest": [each.model.digest for each in records],
        "run_kind": [schema.SHADOW] * len(records),
        "reasons": [[]] * len(records),
        "run_id": [entry.ingest_id for entry in entries],
        schema.PARTITION: _days(times),
    }
    return pa.Table.from_pydict(columns, schema=schema.SCORES_SCHEMA)
