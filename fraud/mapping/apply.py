"""A mapping applied to rows of a source: transactions and labels, or why a row is neither."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraud import schema
from fraud.mapping.amounts import LARGEST, Amounts, read_amounts
from fraud.mapping.expected_rows import refuse_unexpected
from fraud.mapping.faults import Faults, refused
from fraud.mapping.ids import card_numbers, read_ids, tie
from fraud.mapping.labels import NO_LABELS, read_labels, said_of_transactions
from fraud.mapping.source_times import read_mapped_times, refuse_times
from fraud.mapping.spec import Attribute, Mapping
from fraud.mapping.text import Bools, bools, numbers, text
from fraud.money import EXPONENTS, Rates, has_rate, to_base_minor_array

Ints = NDArray[np.int64]
Column: TypeAlias = Any
"""An Arrow array, chunked or not."""


@dataclass(frozen=True, slots=True)
class Applied:
    """Rows of a source as what they are.

    Attributes:
        transactions: Columns of ``schema.transactions`` but ``ingest_id``, in the source's order; empty for a
            file of labels.
        rows: The number in its file of each transaction, shape ``(transactions,)``.
        labels: See ``labels.said``; of a file of labels, event time and entities are missing.
        refused: Columns row, reason, detail, raw.
    """

    transactions: pa.Table
    rows: Ints
    labels: pa.Table
    refused: pa.Table


def attribute_types(mapping: Mapping) -> dict[str, pa.DataType]:
    """Return the lake's type of every attribute."""
    return {
        name: pa.float64() if attribute.type == "number" else pa.string()
        for name, attribute in mapping.attributes.items()
    }


def apply_transactions(table: pa.Table, rows: Ints, mapping: Mapping, rates: Rates, now: datetime) -> Applied:
    """Read rows as transactions, with the labels they carry.

    Args:
        table: Rows of the source under its own column names, text or typed.
        rows: Their numbers in the file, shape ``(n,)``.
        mapping: Of kind transactions.
        rates: Into the base currency.
        now: The time of the ingest, UTC: events may be expected not to lie after it.

    Raises:
        SchemaError: A column's type cannot hold what the mapping says, or naive times have no zone.
    """
    faults = Faults(table.num_rows)
    columns = _core(table, mapping, rates, faults)
    columns |= _entities(table, mapping, faults) | _attributes(table, mapping, faults)
    labels = read_labels(table, mapping, columns["event_time"], faults) if mapping.labels else None
    if mapping.expect is not None:
        refuse_unexpected(columns, mapping.expect, now, faults)
    kept = faults.none
    accepted = _where(pa.table(columns), kept)
    said = NO_LABELS
    if labels is not None:
        said = said_of_transactions(accepted, _where(labels, kept), rows[kept], mapping)
    return Applied(accepted, rows[kept], said, refused(table, rows, faults))


def apply_labels(table: pa.Table, rows: Ints, mapping: Mapping) -> Applied:
    """Read rows of a file of labels; which transactions they label is for the caller to find."""
    faults = Faults(table.num_rows)
    ids = _ids(table, mapping.columns.transaction_id, mapping, faults)
    labels = read_labels(table, mapping, None, faults)
    kept = faults.none & bools(pc.is_valid(labels.column("is_fraud")))
    whole = labels.append_column("transaction_id", ids).append_column("row", pa.array(rows, pa.int64()))
    return Applied(pa.table({}), np.empty(0, np.int64), _where(whole, kept), refused(table, rows, faults))


def _where(table: pa.Table, kept: Bools) -> pa.Table:
    return table if kept.all() else table.filter(pa.array(kept))


def _core(table: pa.Table, mapping: Mapping, rates: Rates, faults: Faults) -> dict[str, Column]:
    core = mapping.columns
    amount_column = core.amount or ""
    ids = _ids(table, core.transaction_id, mapping, faults)
    event_time = _times(table, core.event_time or "", mapping, faults)
    currency, digits = _currency(table, mapping, faults)
    amount, kind = _amount_and_kind(table, mapping, digits, faults)
    days = pa.array(event_time // 86_400_000_000).cast(pa.int32()).cast(pa.date32())
    usable = faults.none
    known = np.zeros(len(amount), np.bool_)
    known[usable] = has_rate(currency.filter(pa.array(usable)), days.filter(pa.array(usable)), rates)
    faults.add(~known & usable, "no_rate", amount_column)
    base = np.zeros(len(amount), np.int64)
    priced = known & faults.none
    chosen = pa.array(priced)
    base[priced] = to_base_minor_array(amount[priced], currency.filter(chosen), days.filter(chosen), rates)
    faults.add(base > LARGEST, "amount_too_large", amount_column)
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


def _times(table: pa.Table, column: str, mapping: Mapping, faults: Faults) -> Ints:
    reading = read_mapped_times(table, column, mapping)
    faults.add(reading.missing, "missing_time", column)
    refuse_times(reading, column, faults)
    return reading.microseconds


def _known_at(table: pa.Table, mapping: Mapping, event_time: Ints, faults: Faults) -> Ints:
    column = mapping.columns.known_at
    if column is None:
        return event_time
    reading = read_mapped_times(table, column, mapping)
    refuse_times(reading, column, faults)
    known_at = np.where(reading.missing, event_time, reading.microseconds)
    faults.add(known_at < event_time, "known_before_event", column)
    return known_at


def _currency(table: pa.Table, mapping: Mapping, faults: Faults) -> tuple[pa.Array, Ints]:
    """The currency of every row, and the decimal digits from the source's unit to the minor unit."""
    amount = mapping.amount
    assert amount is not None  # noqa: S101  # the mapping of transactions was validated
    if amount.currency_column is None:
        codes = pa.repeat(pa.scalar(amount.currency, pa.string()), table.num_rows)
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
        # A kind that already takes money back stays what the source calls it.
        pays = bools(pc.is_in(kind, value_set=pa.array(schema.SCORED_KINDS)))
        kind = pc.if_else(pa.array(negative & pays), meaning, kind)
    return np.abs(read.minor), kind


def _refuse_amounts(read: Amounts, column: str, faults: Faults) -> None:
    faults.add(read.missing, "missing_amount", column)
    faults.add(read.non_finite, "non_finite_amount", column)
    faults.add(read.unparsable, "unparsable_amount", column)
    faults.add(read.too_large, "amount_too_large", column)
    faults.add(read.not_whole, "amount_not_whole_minor", column)


def _kind(table: pa.Table, mapping: Mapping, faults: Faults) -> pa.Array:
    if mapping.kinds is None:
        return pa.repeat("purchase", table.num_rows)
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
    reading = read_mapped_times(table, mapping.status.time_column, mapping)
    refuse_times(reading, mapping.status.time_column, faults)
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
