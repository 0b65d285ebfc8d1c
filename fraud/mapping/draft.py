"""A first mapping of an unknown source: every guess marked, to be read and corrected by a person."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud.mapping.spec import FileFormat
from fraud.mapping.text import bools, flat, numbers, text
from fraud.mapping.times import read_times
from fraud.money import EXPONENTS

FORMATS: Final = (
    "iso8601",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%Y%m%d%H%M%S",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
)
"""Time formats that are tried, in this order."""

SEPARATORS: Final = (";", "\t", "|", ",")

_ENOUGH: Final = 0.95
"""Share of a column's values that must fit for a guess."""

_NAMES: Final = {
    "transaction_id": "transaction.?id|tx.?id|beleg|receipt|reference|^id$",
    "amount": "amount|betrag|amt|sum|value|price|montant|importe",
    "label": "fraud|chargeback|label|betrug",
    "label_time": "label|chargeback|report|gemeldet|known",
    "card_id": "card|karte|customer|kunde|account|konto$|client",
    "terminal_id": "terminal|merchant|shop|haendler|store",
    "device_id": "device.?id",
}


@dataclass(slots=True)
class Guesses:
    """What each column seems to be; a column is used once."""

    transaction_id: str = ""
    event_time: str = ""
    label_time: str = ""
    amount: str = ""
    currency: str = ""
    label: str = ""
    fraud_value: str = "1"
    entities: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    time_format: str = "iso8601"
    zoned: bool = False
    negative: bool = False


def guess_separator(lines: Sequence[str]) -> str:
    """Return the mark that cuts all lines into the same number of fields, more than one; else a comma."""
    for mark in SEPARATORS:
        counts = {line.count(mark) for line in lines if line.strip()}
        if len(counts) == 1 and counts != {0}:
            return mark
    return max(SEPARATORS, key=lambda mark: lines[0].count(mark) if lines else 0)


def guess_decimal(sample: pa.Table, separator: str) -> tuple[str, str]:
    """Return the decimal mark and the mark of thousands of a text sample."""
    shown = "\n".join(str(value) for column in sample.columns for value in column.to_pylist() if value)
    commas = len(re.findall(r"^-?[\d.]*\d,\d{1,4}$", shown, re.MULTILINE))
    points = len(re.findall(r"^-?[\d,]*\d\.\d{1,4}$", shown, re.MULTILINE))
    if commas > points and separator != ",":
        return ",", "." if re.search(r"^-?\d{1,3}(\.\d{3})+,\d", shown, re.MULTILINE) else ""
    return ".", "," if re.search(r"^-?\d{1,3}(,\d{3})+\.\d", shown, re.MULTILINE) else ""


def draft(sample: pa.Table, file: FileFormat) -> str:
    """Return a commented mapping of a sample; it loads as it is, and every guess is marked ``# guess:``.

    Args:
        sample: Rows of the source under its own column names.
        file: How its text is written.
    """
    return _write(_guess(sample, file), file)


def _guess(sample: pa.Table, file: FileFormat) -> Guesses:
    found = Guesses()
    left = list(sample.column_names)

    def take(name: str) -> str:
        left.remove(name)
        return name

    times = {name: shape for name in left if (shape := _time_format(sample, name, file))}
    named = [name for name in times if re.search(_NAMES["label_time"], name, re.IGNORECASE)]
    if len(times) > 1 and named:
        found.label_time = take(named[0])
    events = [name for name in times if name in left]
    if events:
        found.event_time = take(events[0])
        found.time_format, found.zoned = times[found.event_time]
    for name in list(left):
        if bools(pc.is_in(text(sample.column(name)), value_set=pa.array(list(EXPONENTS)))).mean() >= _ENOUGH:
            found.currency = take(name)
            break
    found.label, found.fraud_value = _label(sample, left)
    if found.label:
        take(found.label)
    _guess_numbers(sample, file, left, found, take)
    for name in left:
        found.attributes[name] = "number" if _is_number(sample, name, file) else "category"
    return found


def _guess_numbers(
    sample: pa.Table, file: FileFormat, left: list[str], found: Guesses, take: Callable[[str], str]
) -> None:
    distinct = [
        name for name in left if pc.count_distinct(text(sample.column(name))).as_py() == sample.num_rows
    ]
    ids = _named("transaction_id", distinct) or [
        name for name in distinct if not _is_fraction(sample, name, file)
    ]
    if ids:
        found.transaction_id = take(ids[0])
    amounts = _named("amount", [name for name in left if _is_number(sample, name, file)])
    amounts = amounts or [name for name in left if _is_fraction(sample, name, file)]
    if amounts:
        found.amount = take(amounts[0])
        values, _ = _numbers(sample, found.amount, file)
        found.negative = bool((values < 0).any())
    for entity in ("card_id", "terminal_id", "device_id"):
        several = [
            name for name in left if 1 < pc.count_distinct(sample.column(name)).as_py() < sample.num_rows
        ]
        names = [name for name in _named(entity, several) if not _is_fraction(sample, name, file)]
        if names:
            found.entities[entity] = take(names[0])


def _named(what: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if re.search(_NAMES[what], name, re.IGNORECASE)]


def _time_format(sample: pa.Table, name: str, file: FileFormat) -> tuple[str, bool] | None:
    column = flat(sample.column(name))
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return "iso8601", getattr(column.type, "tz", None) is not None
    if not pa.types.is_string(column.type):
        return None
    for shape in FORMATS:
        reading = read_times(
            column, name, formats=(shape,), zone="UTC", clock_change="first", nulls=file.null_values
        )
        given = ~reading.missing
        if given.any() and (~(reading.unparsable | reading.out_of_range))[given].mean() >= _ENOUGH:
            marked = pc.match_substring_regex(text(column, file.null_values), r"([Zz]|UTC|[+-]\d{2}:?\d{2})$")
            return shape, bool(shape == "iso8601" and bools(marked)[given].all())
    return None


def _label(sample: pa.Table, names: Sequence[str]) -> tuple[str, str]:
    for name in _named("label", names):
        values = text(sample.column(name)).drop_null().value_counts().to_pylist()
        if len(values) <= 3:
            rarest = min(values, key=lambda value: value["counts"])["values"] if values else "1"
            ones = [
                value["values"] for value in values if value["values"].lower() in {"1", "true", "yes", "y"}
            ]
            return name, str((ones or [rarest])[0]).lower()
    return "", "1"


def _numbers(sample: pa.Table, name: str, file: FileFormat) -> tuple[np.ndarray, np.ndarray]:
    values, unreadable = numbers(
        sample.column(name), decimal=file.decimal, thousands=file.thousands, nulls=file.null_values
    )
    return pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False), unreadable


def _is_number(sample: pa.Table, name: str, file: FileFormat) -> bool:
    kind = flat(sample.column(name)).type
    if pa.types.is_temporal(kind) or pa.types.is_nested(kind) or pa.types.is_binary(kind):
        return False
    values, unreadable = _numbers(sample, name, file)
    return bool(np.isfinite(values).any() and unreadable.mean() <= 1 - _ENOUGH)


def _is_fraction(sample: pa.Table, name: str, file: FileFormat) -> bool:
    if not _is_number(sample, name, file):
        return False
    values, _ = _numbers(sample, name, file)
    finite = values[np.isfinite(values)]
    return bool((finite != np.floor(finite)).any())


def _write(found: Guesses, file: FileFormat) -> str:
    missing = "no column looks like it: name the right one"
    lines = [
        "# Drafted from a sample. Read and correct every `# guess:`, then run `fraud mapping check`.",
        "format_version: 1",
        "kind: transactions",
        "format:",
        f"  separator: {_quoted(file.separator)}  # guess: of text files",
        f"  decimal: {_quoted(file.decimal)}  # guess: the decimal mark",
        f"  thousands: {_quoted(file.thousands)}  # guess: the mark between thousands",
        "times:",
        f"  formats: [{_quoted(found.time_format)}]  # guess: from the column of event times",
    ]
    if not found.zoned:
        lines.append("  zone: UTC  # guess: the times carry no zone: which clock did they read?")
    lines += [
        "  clock_change: reject  # guess: or first, for a local hour that a clock change repeats or skips",
        "columns:",
        f"  transaction_id: {_quoted(found.transaction_id or 'transaction_id')}"
        f"  # guess: {'all values differ' if found.transaction_id else missing}",
        f"  event_time: {_quoted(found.event_time or 'event_time')}"
        f"  # guess: {'the values are times' if found.event_time else missing}",
        f"  amount: {_quoted(found.amount or 'amount')}"
        f"  # guess: {'by name or shape' if found.amount else missing}",
        "amount:",
        "  unit: major  # guess: 12.34 is twelve and 34 hundredths; minor if 1234 is that",
        *_currency_lines(found),
        *_negative_lines(found),
        *_section("entities", {name: _quoted(column) for name, column in found.entities.items()}, "an id"),
        *_section(
            "attributes",
            {
                _lake_name(name): f"{{column: {_quoted(name)}, type: {kind}}}"
                for name, kind in found.attributes.items()
            },
            "what a feature may read",
        ),
        *_label_lines(found),
    ]
    return "\n".join(lines) + "\n"


def _currency_lines(found: Guesses) -> list[str]:
    if found.currency:
        return [f"  currency_column: {_quoted(found.currency)}  # guess: all values are ISO-4217 codes"]
    return ["  currency: EUR  # guess: no column holds codes: which currency is it?"]


def _negative_lines(found: Guesses) -> list[str]:
    if found.negative:
        return ["  negative: reject  # guess: there are negative amounts: refund, reversal, or reject them?"]
    return ["  negative: reject  # guess: the sample has no negative amount"]


def _section(name: str, entries: dict[str, str], why: str) -> list[str]:
    if not entries:
        return []
    return [f"{name}:", *(f"  {key}: {value}  # guess: {why}" for key, value in entries.items())]


def _label_lines(found: Guesses) -> list[str]:
    if not found.label:
        return [
            "# labels: no column looks like a fraud label; a separate file gets a mapping of `kind: labels`."
        ]
    timed = f"  time_column: {_quoted(found.label_time)}  # guess: when the label became known"
    return [
        "labels:",
        f"  column: {_quoted(found.label)}  # guess: by name and its few values",
        f"  fraud_values: [{_quoted(found.fraud_value)}]  # guess: the rarer value",
        timed if found.label_time else "  delay_d: 7  # guess: days until a fraud is known",
        "  genuine: presumed  # guess: a row not labelled fraud is genuine once labels are mature",
    ]


def _lake_name(column: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_") or "column"
    safe = name if name[0].isalpha() else f"a_{name}"
    return safe if len(safe) > 1 else f"{safe}_"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{escaped}"'
