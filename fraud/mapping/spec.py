"""What a mapping file may say: how a source's columns become transactions and labels.

A mapping is YAML, validated into the frozen ``Mapping``. Everything a source leaves open (its zone, what a
negative amount means, when a label became known) is stated there once; nothing is guessed at ingest.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from fraud.errors import DeclarationError
from fraud.mapping.database import Database
from fraud.mapping.expect import Expect
from fraud.mapping.section import Section, Value
from fraud.mapping.time_format import compile_format
from fraud.mapping.yaml_file import close_match, read
from fraud.money import EXPONENTS
from fraud.schema import CORE_COLUMNS, PARTITION

FORMAT_VERSION: Final = 1

_RESERVED: Final = frozenset(
    {*CORE_COLUMNS, PARTITION, "ingest_id", "label_time", "source", "is_fraud", "fraud_type"}
)


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no IANA time zone, such as UTC or Europe/Berlin")
    return name


def _currency(code: str) -> str:
    if code not in EXPONENTS:
        raise ValueError(f"{code!r} is no ISO-4217 code, such as EUR")
    return code


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError as unknown:
        raise ValueError(f"{name!r} is no known encoding, such as utf-8 or latin-1") from unknown


def _column_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _RESERVED:
        raise ValueError(
            f"{name!r} cannot name a column: lower case letters, digits and _, and none of the core's"
        )
    return name


def _time_format(text: str) -> str:
    compile_format(text)
    return text


ColumnName = Annotated[str, AfterValidator(_column_name)]
Currency = Annotated[str, AfterValidator(_currency)]
TimeFormat = Annotated[str, AfterValidator(_time_format)]
Kind = Literal["purchase", "verification", "refund", "reversal"]


class FileFormat(Section):
    """How text files are written; Parquet needs none of it but the marks in its text columns."""

    separator: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', min_length=1, max_length=1)
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    decimal: str = Field(default=".", pattern=r"^[.,]$", description="Decimal mark of numbers.")
    thousands: str = Field(default="", max_length=1, description="Mark between groups of three digits.")
    null_values: tuple[str, ...] = Field(default=("",), description="Texts that mean: no value.")

    @model_validator(mode="after")
    def _marks_differ(self) -> FileFormat:
        if self.thousands and (self.thousands == self.decimal or self.thousands.isdigit()):
            raise ValueError("thousands and decimal must be different marks")
        return self


class Times(Section):
    """How times are written: ``iso8601``, ``epoch_s|ms|us``, or a pattern such as ``%d.%m.%Y %H:%M``.

    The formats are tried in their order.
    ``clock_change``: a local hour that a clock change repeats or skips is refused (``reject``) or read with
    the offset in force before the change (``first``).
    """

    formats: tuple[TimeFormat, ...] = Field(default=("iso8601",), min_length=1)
    zone: Annotated[str, AfterValidator(_zone)] | None = Field(
        default=None, description="Of times without one."
    )
    clock_change: Literal["first", "reject"] = "reject"


class Columns(Section):
    """The source's columns of the core facts."""

    transaction_id: str
    event_time: str | None = None
    amount: str | None = None
    known_at: str | None = Field(
        default=None, description="When the row became known; never before the event."
    )


class Amount(Section):
    """Unit, sign and currency of the amounts."""

    unit: Literal["major", "minor"] = "major"
    negative: Literal["refund", "reversal", "reject"] = "reject"
    currency: Currency | None = Field(default=None, description="One currency for all rows.")
    currency_column: str | None = None

    @model_validator(mode="after")
    def _one_currency(self) -> Amount:
        if (self.currency is None) == (self.currency_column is None):
            raise ValueError("state either currency or currency_column")
        return self


class Kinds(Section):
    """Which source value is which kind of transaction; ``otherwise`` is the kind of all other values."""

    column: str
    values: dict[Value, Kind]
    otherwise: Kind | None = None


class Status(Section):
    """Which source value is which outcome, and when the outcome was known."""

    column: str
    values: dict[Value, Literal["approved", "declined", "reversed"]]
    time_column: str | None = None


class Attribute(Section):
    """A further column: a number, or a category kept as text."""

    column: str
    type: Literal["number", "category"]


class Labels(Section):
    """Where the fraud labels are.

    ``genuine: recorded`` writes a genuine label for every other value of the column, ``presumed`` writes
    frauds only. ``delay_d`` dates a label that the source does not date.
    """

    column: str | None = Field(default=None, description="None, in a file of labels: every row is a fraud.")
    fraud_values: tuple[Value, ...] = ("1", "true")
    time_column: str | None = None
    delay_d: float | None = Field(
        default=None, ge=0, le=3650, description="Days from event to label, assumed."
    )
    source: str = Field(default="label", min_length=1)
    fraud_type: str | None = Field(default=None, description="Column that tells the kind of fraud.")
    genuine: Literal["recorded", "presumed"] = "presumed"

    @model_validator(mode="after")
    def _dated(self) -> Labels:
        if self.time_column is None and self.delay_d is None:
            raise ValueError("state time_column, or delay_d where the source has no label time")
        return self


class Mapping(Section):
    """One source's mapping; ``entities`` and ``attributes`` are the lake's column: the source's column."""

    format_version: Literal[1]
    name: str = ""
    kind: Literal["transactions", "labels"] = "transactions"
    format: FileFormat = FileFormat()
    database: Database | None = None
    times: Times = Times()
    columns: Columns
    amount: Amount | None = None
    kinds: Kinds | None = None
    status: Status | None = None
    entities: dict[ColumnName, str] = Field(default_factory=dict)
    attributes: dict[ColumnName, Attribute] = Field(default_factory=dict)
    labels: Labels | None = None
    not_card_numbers: tuple[str, ...] = Field(
        default=(), description="Columns whose long digit runs are known to be no card numbers."
    )
    expect: Expect | None = None

    @field_validator("expect")
    @classmethod
    def _of_its_columns(cls, expect: Expect | None, info: ValidationInfo) -> Expect | None:
        """Checked on the field, so that a refusal names the section's line."""
        said = info.data
        if expect is None or not {"status", "entities", "attributes"} <= said.keys():
            return expect
        types = {name: attribute.type for name, attribute in said["attributes"].items()}
        status = ["status"] if said["status"] else []
        times = ["status_time"] if said["status"] else []
        expect.refuse_unknown(
            numbers=[name for name, kind in types.items() if kind == "number"],
            categories=[*status, *(name for name, kind in types.items() if kind == "category")],
            nullable=[*status, *times, *said["entities"], *types],
        )
        return expect

    @model_validator(mode="after")
    def _complete(self) -> Mapping:
        if self.kind == "labels":
            return self._only_labels()
        if self.columns.event_time is None or self.columns.amount is None or self.amount is None:
            raise ValueError("a mapping of transactions needs columns.event_time, columns.amount and amount")
        if self.labels is not None and self.labels.column is None:
            raise ValueError("labels.column is missing: it says which transactions are frauds")
        twice = self.entities.keys() & self.attributes.keys()
        if twice:
            raise ValueError(f"{', '.join(sorted(twice))}: both an entity and an attribute")
        return self

    def _only_labels(self) -> Mapping:
        if self.labels is None:
            raise ValueError("a mapping of labels needs the section labels")
        unused = {"amount", "kinds", "status", "entities", "attributes", "expect"} & self.model_fields_set
        if unused or self.columns.event_time or self.columns.amount or self.columns.known_at:
            raise ValueError(
                "a mapping of labels has columns.transaction_id, labels and formats only: "
                "times, amounts and entities come from the transactions in the lake"
            )
        return self

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the mapping says, whatever its file is called and however it is laid out."""
        # A mapping without a section keeps the digest under which its files were read before there was one.
        unsaid = {"name"} | {name for name in ("expect", "database") if getattr(self, name) is None}
        said = json.dumps(self.model_dump(mode="json", exclude=unsaid), sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def source_columns(self) -> tuple[str, ...]:
        """Return every source column it reads, each once, in the order of the file's sections."""
        core = self.columns
        found = [core.transaction_id, core.event_time, core.amount, core.known_at]
        found += [self.amount.currency_column] if self.amount else []
        found += [self.kinds.column] if self.kinds else []
        found += [self.status.column, self.status.time_column] if self.status else []
        found += [*self.entities.values(), *(attribute.column for attribute in self.attributes.values())]
        if self.labels:
            found += [self.labels.column, self.labels.time_column, self.labels.fraud_type]
        return tuple(dict.fromkeys(column for column in found if column is not None))

    def optional_columns(self) -> frozenset[str]:
        """Columns a file may lack: the label time, where a delay stands in for it."""
        labels = self.labels
        if labels is None or labels.time_column is None or labels.delay_d is None:
            return frozenset()
        return frozenset({labels.time_column})


def load(name_or_file: str, folder: Path) -> Mapping:
    """Load ``NAME`` from the folder of mappings, or a mapping file.

    Raises:
        DeclarationError: There is no such file, or it cannot be used as written; the message names the line.
        FormatVersionError: The file was written for another release.
    """
    is_file = name_or_file.endswith((".yaml", ".yml")) or "/" in name_or_file
    file = Path(name_or_file) if is_file else folder / f"{name_or_file}.yaml"
    if not file.is_file():
        ready = sorted(path.stem for path in folder.glob("*.yaml"))
        raise DeclarationError(
            str(file),
            f"no such mapping{close_match(name_or_file, ready)} "
            f"(ready: {', '.join(ready)}; `fraud mapping init` drafts one from a source)",
        )
    try:
        text = file.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as broken:
        raise DeclarationError(str(file), "cannot be read as UTF-8 text") from broken
    return read(text, str(file), Mapping, format_version=FORMAT_VERSION, name=file.stem)
