"""A mapping applied to rows of a source: what they are, or why they are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.mapping.amounts import Amounts, read_amounts
from fraud.mapping.ids import card_numbers, masked, read_ids, tie
from fraud.mapping.spec import Attribute, Labels, Mapping
from fraud.mapping.text import Bools, bools, numbers, text
from fraud.mapping.times import Reading, read_times
from fraud.money import EXPONENTS, Rates, has_rate, to_base_minor_array

Ints = NDArray[np.int64]
Column = Any
"""An Arrow array, chunked or not."""

REASONS: Final[Dict[str, str]] = {
    "missing_id": "{column} has no value",
    "invalid_id": "{column} is a number with a fraction or with lost digits, or holds control characters",
    "missing_time": "{column} has no value",
    "unparsable_time": "{column} fits none of times.formats of the mapping",
    "time_out_of_range": "{column} is before 1990 or after 2099",
    "ambiguous_time": "a clock change repeats this local hour: set times.clock_change: first to read it",
    "nonexistent_time": "a clock change skips this local hour: set times.clock_change: first to read it",
    "missing_amount": "{column} has no value",
    "unparsable_amount": "{column} is no number with the marks of the mapping",
    "non_finite_amount": "{column} is not a finite number",
    "amount_too_large": "{column} is more than 10^9 minor units",
    "amount_not_whole_minor": "{column} has more decimals than its currency",
    "negative_amount": "{column} is negative: set amount.negative to refund or reversal if it means that",
    "unknown_currency": "{column} is no ISO-4217 code",
    "no_rate": "money.rates has no rate of this currency on that day",
    "unknown_kind": "{column} has a value that kinds.values does not name",
    "unknown_status": "{column} has a value that status.values does not name",
    "known_before_event": "{column} is before the event",
    "card_number": "{column} holds a card number: send a token, or name the column in not_card_numbers",
    "unparsable_attribute": "{column} is not a finite number with the marks of the mapping",
    "label_before_event": "the label is older than the event",
    "missing_label_time": "{column} has no value",
    "malformed_row": "the row has more or fewer fields than the header, or is no JSON object",
    "conflict": "the transaction id is known with other content",
    "unknown_transaction": "the lake has no transaction of this id: ingest its transaction first",
}
"""Why a row is refused, with what to do about it."""

LABEL_COLUMNS: Final = ("transaction_id", "event_time", "label_time", "source", "is_fraud", "fraud_type")


@dataclass(slots=True)
class Faults:
    """The first fault of every row; ``reason`` and ``detail``, shape ``(n,)``, are empty where there is none."""

    rows: int
    reason: NDArray[np.object_] = field(init=False)
    detail: NDArray[np.object_] = field(init=False)

    def __post_init__(self) -> None:
        self.reason = np.full(self.rows, "", object)
        self.detail = np.full(self.rows, "", object)

    def add(self, mask: Bools, reason: str, column: str = "") -> None:
        """Refuse the rows of a mask that have no fault yet."""
        new = mask & (self.reason == "") if mask.any() else mask
        if new.any():
            self.reason[new] = reason
            self.detail[new] = REASONS[reason].format(column=column)

    @property
    def none(self) -> Bools:
        """Rows without a fault."""
        return np.asarray(self.reason == "", np.bool_)


@dataclass(frozen=True, slots=True)
class Applied:
    """Rows of a source as what they are.

    Attributes:
        transactions: Columns of ``schema.transactions`` but ``ingest_id``, in the source's order; empty for a
            file of labels.
        transaction_rows: The row of the source of each, shape ``(transactions,)``.
        labels: Columns ``LABEL_COLUMNS`` and the entities; of a file of labels without event time and
            entities, and with ``row``.
        rejects: Columns row, reason, detail, raw.
    """

    transactions: pa.Table
    transaction_rows: Ints
    labels: pa.Table
    rejects: pa.Table


def attribute_types(mapping: Mapping) -> dict[str, pa.DataType]:
    """Return the lake's type of every attribute."""
    return {
        name: pa.float64() if attribute.type == "number" else pa.string()
        for name, attribute in mapping.attributes.items()
    }


def apply_transactions(table: pa.Table, mapping: Mapping, rates: Rates, *, first_row: int) -> Applied:
    """Read rows as transactions, with the labels they carry.

    Args:
        table: Rows of the source under its own column names, text or typed.
        mapping: Of kind transactions.
        rates: Into the base currency.
        first_row: The number of the first row in its file.

    Raises:
        SchemaError: A column's type cannot hold what the mapping says, or naive times have no zone.
    """
    faults = Faults(table.num_rows)
    columns = _core(table, mapping, rates, faults)
    columns |= _entities(table, mapping, faults) | _attributes(table, mapping, faults)
    labels = _label_columns(table, mapping, columns["event_time"], faults) if mapping.labels else None
    whole = pa.table({name: columns[name] for name in columns})
    kept = np.flatnonzero(faults.none)
    accepted = whole.take(pa.array(kept))
    said = pa.table({})
    if labels is not None:
        said = _row_labels(accepted, labels.take(pa.array(kept)), mapping)
    return Applied(accepted, kept + first_row, said, rejects(table, faults, first_row))


def apply_labels(table: pa.Table, mapping: Mapping, *, first_row: int) -> Applied:
    """Read rows of a file of labels; which transactions they label is for the caller to find.

    Returns:
        ``labels`` with transaction_id, label_time (microseconds, null where the mapping's delay is to be
        added to the event), source, is_fraud, fraud_type and row.
    """
    faults = Faults(table.num_rows)
    ids = _ids(table, mapping.columns.transaction_id, mapping, faults)
    labels = _label_columns(table, mapping, None, faults)
    kept = pa.array(np.flatnonzero(faults.none))
    said = labels.append_column("transaction_id", ids).append_column(
        "row", pa.array(np.arange(table.num_rows, dtype=np.int64) + first_row)
    )
    return Applied(pa.table({}), np.empty(0, np.int64), said.take(kept), rejects(table, faults, first_row))


def rejects(table: pa.Table, faults: Faults, first_row: int) -> pa.Table:
    """Return the refused rows as JSON with long digit runs masked, and why."""
    refused = np.flatnonzero(~faults.none)
    raw = [
        masked(json.dumps(row, default=str, ensure_ascii=False))
        for row in table.take(pa.array(refused)).to_pylist()
    ]
    return pa.table(
        {
            "row": pa.array(refused + first_row, pa.int64()),
            "reason": pa.array(faults.reason[refused].tolist(), pa.string()),
            "detail": pa.array(faults.detail[refused].tolist(), pa.string()),
            "raw": pa.array(raw, pa.string()),
        }
    )


def _core(table: pa.Table, mapping: Mapping, rates: Rates, faults: Faults) -> dict[str, Column]:
    core = mapping.columns
    ids = _ids(table, core.transaction_id, mapping, faults)
    event_time = _times(table, core.event_time or "", mapping, faults)
    currency, digits = _currency(table, mapping, faults)
    amount, kind = _amount_and_kind(table, mapping, digits, faults)
    days = pa.array(event_time // 86_400_000_000).cast(pa.int32()).cast(pa.date32())
    usable = faults.none
    known = np.zeros(len(amount), np.bool_)
    known[usable] = has_rate(currency.filter(pa.array(usable)), days.filter(pa.array(usable)), rates)
    faults.add(~known & usable, "no_rate")
    base = np.zeros(len(amount), np.int64)
    priced = known & faults.none
    chosen = pa.array(priced)
    base[priced] = to_base_minor_array(amount[priced], currency.filter(chosen), days.filter(chosen), rates)
    status, status_time = _status(table, mapping, faults)
    return {
        "transaction_id": ids,
        "event_time": _stamp(event_time),
        "known_at": _stamp(_known_at(table, mapping, event_time, faults)),
        "kind": kind,
        "status": status,
        "status_time": status_time,
        "amount_minor": pa.array(amount),
        "currency": currency,
        "amount_base_minor": pa.array(base),
        "tie": pa.array(tie(pc.fill_null(ids, ""))),
        schema.PARTITION: days,
    }


def _stamp(microseconds: Ints) -> pa.Array:
    return pa.array(microseconds).cast(schema.TIME)


def _ids(table: pa.Table, column: str, mapping: Mapping, faults: Faults) -> pa.Array:
    ids, invalid = read_ids(table.column(column), mapping.format.null_values)
    faults.add(bools(pc.is_null(ids)), "missing_id", column)
    faults.add(invalid, "invalid_id", column)
    _refuse_card_numbers(ids, column, mapping, faults)
    return ids


def _refuse_card_numbers(values: pa.Array, column: str, mapping: Mapping, faults: Faults) -> None:
    if column not in mapping.not_card_numbers:
        faults.add(card_numbers(values), "card_number", column)


def _read(table: pa.Table, column: str, mapping: Mapping) -> Reading:
    times = mapping.times
    return read_times(
        table.column(column),
        column,
        formats=times.formats,
        zone=times.zone,
        clock_change=times.clock_change,
        nulls=mapping.format.null_values,
    )


def _refuse_times(reading: Reading, column: str, faults: Faults) -> None:
    faults.add(reading.unparsable, "unparsable_time", column)
    faults.add(reading.out_of_range, "time_out_of_range", column)
    faults.add(reading.ambiguous, "ambiguous_time", column)
    faults.add(reading.nonexistent, "nonexistent_time", column)


def _times(table: pa.Table, column: str, mapping: Mapping, faults: Faults) -> Ints:
    reading = _read(table, column, mapping)
    faults.add(reading.missing, "missing_time", column)
    _refuse_times(reading, column, faults)
    return reading.microseconds


def _known_at(table: pa.Table, mapping: Mapping, event_time: Ints, faults: Faults) -> Ints:
    column = mapping.columns.known_at
    if column is None:
        return event_time
    reading = _read(table, column, mapping)
    _refuse_times(reading, column, faults)
    known_at = np.where(reading.missing, event_time, reading.microseconds)
    faults.add(known_at < event_time, "known_before_event", column)
    return known_at


def _currency(table: pa.Table, mapping: Mapping, faults: Faults) -> tuple[pa.Array, Ints]:
    """The currency of every row, and the decimal digits from the source's unit to the minor unit."""
    amount = mapping.amount
    assert amount is not None  # noqa: S101  # the mapping of transactions was validated
    if amount.currency_column is None:
        codes = pa.array([amount.currency] * table.num_rows, pa.string())
    else:
        codes = pc.utf8_upper(text(table.column(amount.currency_column), mapping.format.null_values))
    known = pa.array(list(EXPONENTS))
    place = pc.index_in(codes, known)
    faults.add(bools(pc.is_null(place)), "unknown_currency", amount.currency_column or "currency")
    exponents = np.array(list(EXPONENTS.values()), np.int64)[pc.fill_null(place, 0).to_numpy()]
    digits = exponents if amount.unit == "major" else np.zeros(table.num_rows, np.int64)
    return codes, digits


def _amount_and_kind(
    table: pa.Table, mapping: Mapping, digits: Ints, faults: Faults
) -> tuple[Ints, pa.Array]:
    column = mapping.columns.amount or ""
    read = read_amounts(
        table.column(column),
        column,
        digits,
        decimal=mapping.format.decimal,
        thousands=mapping.format.thousands,
        nulls=mapping.format.null_values,
    )
    _refuse_amounts(read, column, faults)
    kind = _kind(table, mapping, faults)
    negative = read.minor < 0
    meaning = mapping.amount.negative if mapping.amount else "reject"
    if meaning == "reject":
        faults.add(negative, "negative_amount", column)
    elif negative.any():
        kind = pc.if_else(pa.array(negative), meaning, kind)
    return np.abs(read.minor), kind


def _refuse_amounts(read: Amounts, column: str, faults: Faults) -> None:
    faults.add(read.missing, "missing_amount", column)
    faults.add(read.non_finite, "non_finite_amount", column)
    faults.add(read.unparsable, "unparsable_amount", column)
    faults.add(read.too_large, "amount_too_large", column)
    faults.add(read.not_whole, "amount_not_whole_minor", column)


def _kind(table: pa.Table, mapping: Mapping, faults: Faults) -> pa.Array:
    if mapping.kinds is None:
        return pa.array(["purchase"] * table.num_rows, pa.string())
    found = _translated(table, mapping.kinds.column, mapping.kinds.values, mapping)
    if mapping.kinds.otherwise is not None:
        return pc.fill_null(found, mapping.kinds.otherwise)
    faults.add(bools(pc.is_null(found)), "unknown_kind", mapping.kinds.column)
    return found


def _status(table: pa.Table, mapping: Mapping, faults: Faults) -> tuple[pa.Array, pa.Array]:
    if mapping.status is None:
        return pa.nulls(table.num_rows, pa.string()), pa.nulls(table.num_rows, schema.TIME)
    column = mapping.status.column
    found = _translated(table, column, mapping.status.values, mapping)
    given = bools(pc.is_valid(text(table.column(column), mapping.format.null_values)))
    faults.add(bools(pc.is_null(found)) & given, "unknown_status", column)
    if mapping.status.time_column is None:
        return found, pa.nulls(table.num_rows, schema.TIME)
    reading = _read(table, mapping.status.time_column, mapping)
    _refuse_times(reading, mapping.status.time_column, faults)
    times = pc.if_else(pa.array(reading.missing), pa.scalar(None, schema.TIME), _stamp(reading.microseconds))
    return found, times


def _translated(table: pa.Table, column: str, values: Dict[str, str], mapping: Mapping) -> pa.Array:
    place = pc.index_in(
        text(table.column(column), mapping.format.null_values), pa.array(list(values), pa.string())
    )
    return pa.array(list(values.values()), pa.string()).take(place)


def _entities(table: pa.Table, mapping: Mapping, faults: Faults) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for name, column in mapping.entities.items():
        ids, invalid = read_ids(table.column(column), mapping.format.null_values)
        faults.add(invalid, "invalid_id", column)
        _refuse_card_numbers(ids, column, mapping, faults)
        columns[name] = ids
    return columns


def _attributes(table: pa.Table, mapping: Mapping, faults: Faults) -> dict[str, Column]:
    return {
        name: _attribute(table, attribute, mapping, faults) for name, attribute in mapping.attributes.items()
    }


def _attribute(table: pa.Table, attribute: Attribute, mapping: Mapping, faults: Faults) -> Column:
    column = table.column(attribute.column)
    file = mapping.format
    if attribute.type == "category":
        values = text(column, file.null_values)
        _refuse_card_numbers(values, attribute.column, mapping, faults)
        return values
    values, unreadable = numbers(
        column, decimal=file.decimal, thousands=file.thousands, nulls=file.null_values
    )
    faults.add(unreadable, "unparsable_attribute", attribute.column)
    return values


def _label_columns(
    table: pa.Table, mapping: Mapping, event_time: pa.Array | None, faults: Faults
) -> pa.Table:
    """is_fraud, label_time and fraud_type of every row; the time is null where it follows from the event."""
    labels = mapping.labels
    assert labels is not None  # noqa: S101  # the caller has looked
    n = table.num_rows
    if labels.column is None:
        is_fraud = np.ones(n, np.bool_)
    else:
        value = pc.utf8_lower(text(table.column(labels.column), mapping.format.null_values))
        wanted = pa.array([each.lower() for each in labels.fraud_values], pa.string())
        is_fraud = bools(pc.is_in(value, value_set=wanted))
    at = _label_times(table, labels, mapping, event_time, is_fraud, faults)
    fraud_type = (
        text(table.column(labels.fraud_type), mapping.format.null_values)
        if labels.fraud_type
        else pa.nulls(n, pa.string())
    )
    return pa.table({"is_fraud": pa.array(is_fraud), "label_time": at, "fraud_type": fraud_type})


def _label_times(
    table: pa.Table,
    labels: Labels,
    mapping: Mapping,
    event_time: pa.Array | None,
    is_fraud: Bools,
    faults: Faults,
) -> pa.Array:
    n = table.num_rows
    delay_us = None if labels.delay_d is None else round(labels.delay_d * 86_400_000_000)
    assumed = pa.nulls(n, schema.TIME)
    if event_time is not None and delay_us is not None:
        assumed = pc.add(event_time.cast(pa.int64()), delay_us).cast(schema.TIME)
    if labels.time_column is None or labels.time_column not in table.column_names:
        return assumed
    reading = _read(table, labels.time_column, mapping)
    matters = is_fraud if labels.genuine == "presumed" else np.ones(n, np.bool_)
    if delay_us is None:
        faults.add(reading.missing & matters, "missing_label_time", labels.time_column)
    _refuse_times(reading, labels.time_column, faults)
    at = pc.if_else(pa.array(reading.missing), assumed, _stamp(reading.microseconds))
    if event_time is not None:
        faults.add(bools(pc.less(at, event_time)) & matters, "label_before_event")
    return at


def _row_labels(accepted: pa.Table, labels: pa.Table, mapping: Mapping) -> pa.Table:
    """The labels of accepted rows as rows of their own."""
    assert mapping.labels is not None  # noqa: S101  # the caller has looked
    if mapping.labels.genuine == "presumed":
        kept = labels.column("is_fraud")
        accepted, labels = accepted.filter(kept), labels.filter(kept)
    columns: dict[str, Any] = {
        "transaction_id": accepted.column("transaction_id"),
        "event_time": accepted.column("event_time"),
        "label_time": labels.column("label_time"),
        "source": pa.array([mapping.labels.source] * accepted.num_rows, pa.string()),
        "is_fraud": labels.column("is_fraud"),
        "fraud_type": labels.column("fraud_type"),
    }
    return pa.table(columns | {entity: accepted.column(entity) for entity in mapping.entities})


def late_rows(transactions: pa.Table, featurized: pa.Array, now: datetime) -> tuple[pa.Table, int]:
    """Set ``known_at`` to now for rows whose day was featurized before they came.

    Args:
        transactions: Accepted rows.
        featurized: Dates that have features.
        now: The time of the ingest.

    Returns:
        The rows, and how many were late.
    """
    late = pc.is_in(transactions.column(schema.PARTITION), value_set=featurized)
    known_at = pc.if_else(late, pa.scalar(now, schema.TIME), transactions.column("known_at"))
    place = transactions.column_names.index("known_at")
    return transactions.set_column(place, "known_at", known_at), int(pc.sum(late).as_py() or 0)
