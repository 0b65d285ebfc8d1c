"""Everything this project raises on purpose, as one tree.

    FraudError
    ├── ConfigError             a setting, file or variable is missing, unknown or contradictory
    ├── DeclarationError        a mapping or feature declaration cannot be used as written
    ├── DataError
    │   ├── SourceError         a source file is missing, empty or unreadable
    │   ├── SchemaError         a table or file lacks a column or has it in another type
    │   ├── TableNotFoundError  the lake has no such table
    │   ├── QualityError        more rows were refused than the settings allow
    │   ├── ExpectationError    a batch is not what its mapping expects
    │   ├── ConflictError       a known transaction id came with other content
    │   ├── FormatVersionError  something on disk was written in another format version
    │   ├── ChangedMeanwhileError  another run changed the table
    │   ├── NotWrittenError     a table cannot be written
    │   ├── BusyError           another process does the same work
    │   ├── VerificationError   features differ from what another way to them gives
    │   ├── StateError          the online state is not what the lake makes of it
    │   ├── StateBusyError      the online state was busy for as long as a caller could wait
    │   ├── StateMovedError     another online state took the place of this one
    │   ├── StateBuiltElsewhereError  another process builds an online state for the same place
    │   └── DiskFullError       a disk is too full to write safely
    ├── ModelError
    │   ├── ModelNotFoundError  nothing answers to that model name and alias
    │   ├── PromotionRefusedError  the gate said no; it names the report
    │   ├── BundleError         a bundle's files do not match their digests, or its golden rows their scores
    │   └── NotEnoughDataError  too few rows or no frauds to train, calibrate or measure with
    ├── MartError               the reporting database cannot be reached, refuses, or holds another mart
    ├── ClusterError            Ray cannot be reached, refuses the token, or a port is in use
    └── ServiceError            raised in serve_app only: answers with ``status`` on the wire

A message says what is wrong and what to do. All constructor arguments reach ``Exception.__init__``,
so that an error survives the pickling between a Ray worker and the driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class FraudError(Exception):
    """What a caller can act on; everything else is a programming error."""

    code: ClassVar[str] = "fraud"


class ConfigError(FraudError):
    """A setting, file or variable is missing, unknown or contradictory."""

    code: ClassVar[str] = "config"

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where = where
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


class DeclarationError(ConfigError):
    """A mapping or feature declaration cannot be used as written."""

    code: ClassVar[str] = "declaration"


class DataError(FraudError):
    """The data cannot be used as they are."""

    code: ClassVar[str] = "data"


class SourceError(DataError):
    """A source file is missing, empty or unreadable."""

    code: ClassVar[str] = "source"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class SchemaError(DataError):
    """A table or file lacks a column, or has it in another type."""

    code: ClassVar[str] = "schema"

    def __init__(self, table: str, problems: Sequence[str]) -> None:
        super().__init__(table, tuple(problems))
        self.table = table
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return f"{self.table}: {'; '.join(self.problems)}"


class TableNotFoundError(DataError):
    """The lake has no such table."""

    code: ClassVar[str] = "table_not_found"

    def __init__(self, table: str, lake: str, remedy: str) -> None:
        super().__init__(table, lake, remedy)
        self.table = table
        self.lake = lake
        self.remedy = remedy

    def __str__(self) -> str:
        return f"the lake at {self.lake} has no table {self.table}: {self.remedy}"


class QualityError(DataError):
    """More rows were refused than the settings allow; nothing was committed."""

    code: ClassVar[str] = "quality"

    def __init__(self, rejected: int, rows: int, allowed_share: float, reasons: dict[str, int]) -> None:
        super().__init__(rejected, rows, allowed_share, reasons)
        self.rejected = rejected
        self.rows = rows
        self.allowed_share = allowed_share
        self.reasons = reasons

    def __str__(self) -> str:
        why = ", ".join(f"{reason}: {count}" for reason, count in sorted(self.reasons.items()))
        return (
            f"{self.rejected} of {self.rows} rows were refused ({why}), more than "
            f"ingest.max_reject_share = {self.allowed_share} allows; nothing was committed. "
            "Correct the mapping or the source, or raise the setting."
        )


class ExpectationError(DataError):
    """A batch is not what its mapping expects of it; nothing was committed."""

    code: ClassVar[str] = "expectation"

    def __init__(self, mapping: str, broken: Sequence[str]) -> None:
        super().__init__(mapping, broken)
        self.mapping = mapping
        self.broken = broken

    def __str__(self) -> str:
        return (
            f"the batch is not what the mapping {self.mapping} expects: {'; '.join(self.broken)}. "
            "Nothing was committed. Correct the source, or expect of the mapping."
        )


class ChangedMeanwhileError(DataError):
    """A table was changed by another run while this one was at work; nothing of this one was committed."""

    code: ClassVar[str] = "changed_meanwhile"

    def __init__(self, table: str) -> None:
        super().__init__(table)
        self.table = table

    def __str__(self) -> str:
        return f"another run changed table {self.table} meanwhile, nothing was committed: run this one again"


class NotWrittenError(DataError):
    """A table cannot be written; what was acknowledged before stands."""

    code: ClassVar[str] = "not_written"

    def __init__(self, table: str, problem: str) -> None:
        super().__init__(table, problem)
        self.table = table
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.table} cannot be written: {self.problem}; mend that, then run this again"


class BusyError(DataError):
    """Another process does the same work at the same place."""

    code: ClassVar[str] = "busy"

    def __init__(self, place: str, waited_s: float) -> None:
        super().__init__(place, waited_s)
        self.place = place
        self.waited_s = waited_s

    def __str__(self) -> str:
        return f"another process has been at work on {self.place} for {self.waited_s:g} s: try again later"


class ConflictError(DataError):
    """A known transaction id came with other content."""

    code: ClassVar[str] = "conflict"

    def __init__(self, transaction_id: str) -> None:
        super().__init__(transaction_id)
        self.transaction_id = transaction_id

    def __str__(self) -> str:
        return "this transaction_id came before with other content: use a new id for a new transaction"


class FormatVersionError(DataError):
    """Something on disk was written in another format version."""

    code: ClassVar[str] = "format_version"

    def __init__(
        self, what: str, found: object, expected: int, remedy: str = "write it again with this release"
    ) -> None:
        super().__init__(what, found, expected, remedy)
        self.what = what
        self.found = found
        self.expected = expected
        self.remedy = remedy

    def __str__(self) -> str:
        return (
            f"{self.what} has format_version {self.found}, this release reads {self.expected}: "
            f"{self.remedy}, or use the release that wrote it"
        )


class StateError(DataError):
    """The online state is not what the lake makes of it."""

    code: ClassVar[str] = "state"

    def __init__(self, path: str, counts: str, first: Sequence[str]) -> None:
        super().__init__(path, counts, tuple(first))
        self.path = path
        self.counts = counts
        self.first = tuple(first)

    def __str__(self) -> str:
        return (
            f"the online state at {self.path} differs from the lake in {self.counts} "
            f"(first: {'; '.join(self.first)}): run `fraud state build`"
        )


class StateBusyError(DataError):
    """The turn to write to the online state did not come in time; nothing was recorded."""

    code: ClassVar[str] = "state_busy"

    def __str__(self) -> str:
        return "the online state is busy: send the same request again"


class StateMovedError(DataError):
    """Another online state took the place of this one while it was in use."""

    code: ClassVar[str] = "state_moved"

    def __str__(self) -> str:
        return "another online state took the place of this one meanwhile: run this again"


class StateBuiltElsewhereError(DataError):
    """Another process builds an online state for the same place."""

    code: ClassVar[str] = "state_built_elsewhere"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"another process builds an online state for {self.path}: wait for it, then run this again"


class DiskFullError(DataError):
    """A disk is too full to write safely; nothing was written."""

    code: ClassVar[str] = "disk_full"

    def __init__(self, reserve_bytes: int) -> None:
        super().__init__(reserve_bytes)
        self.reserve_bytes = reserve_bytes

    def __str__(self) -> str:
        return f"less than {self.reserve_bytes >> 20} MiB of the disk are free: make room, then send it again"


class VerificationError(DataError):
    """Features differ from what another way to them gives."""

    code: ClassVar[str] = "verification"

    def __init__(self, table: str, counts: str, first: Sequence[str]) -> None:
        super().__init__(table, counts, tuple(first))
        self.table = table
        self.counts = counts
        self.first = tuple(first)

    def __str__(self) -> str:
        return f"{self.table} differs: {self.counts} (first: {'; '.join(self.first)})"


class ModelError(FraudError):
    """A model cannot be found, trusted or made."""

    code: ClassVar[str] = "model"


class ModelNotFoundError(ModelError):
    """Nothing answers to that model name and alias."""

    code: ClassVar[str] = "model_not_found"

    def __init__(self, name: str, reference: str) -> None:
        super().__init__(name, reference)
        self.name = name
        self.reference = reference

    def __str__(self) -> str:
        return (
            f"the registry has no model {self.name!r} under {self.reference!r}: "
            "run `fraud tune` or `fraud train`, then `fraud promote`"
        )


class PromotionRefusedError(ModelError):
    """The gate said no: a model is not what a champion has to be."""

    code: ClassVar[str] = "promotion_refused"

    def __init__(self, name: str, version: str, failed: Sequence[str], report: str) -> None:
        super().__init__(name, version, tuple(failed), report)
        self.name = name
        self.version = version
        self.failed = tuple(failed)
        self.report = report

    def __str__(self) -> str:
        return (
            f"version {self.version} of {self.name} does not become champion: {'; '.join(self.failed)}. "
            f"The whole report: {self.report}. `--alias challenger` needs no gate"
        )


class BundleError(ModelError):
    """A bundle's files do not match their digests, or its golden rows their scores."""

    code: ClassVar[str] = "bundle"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"the model bundle at {self.path} is refused: {self.problem}"


class NotEnoughDataError(ModelError):
    """Too few rows, or no frauds, to train, calibrate or measure with."""

    code: ClassVar[str] = "not_enough_data"


class UnreconciledError(FraudError):
    """Rows are missing between what came in and what was counted: a fault of the program, not of the data."""

    code: ClassVar[str] = "unreconciled"

    def __init__(self, job: str, rows_in: int, became: dict[str, int]) -> None:
        super().__init__(job, rows_in, became)
        self.job = job
        self.rows_in = rows_in
        self.became = became

    def __str__(self) -> str:
        found = " + ".join(f"{count} {name}" for name, count in self.became.items())
        return (
            f"{self.job} took in {self.rows_in} rows and accounts for {found}: nothing was committed. "
            "This is a fault of the program: please report it with this line"
        )


class MartError(FraudError):
    """The reporting database cannot be reached, refuses, or holds another mart; nothing was published."""

    code: ClassVar[str] = "mart"

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where = where
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the mart at {self.where}: {self.problem}; nothing was published: mend that, then run this again"
        )


class ClusterError(FraudError):
    """Ray cannot be reached, refuses the token, or a port is in use."""

    code: ClassVar[str] = "cluster"


class ServiceError(FraudError):
    """An answer of the service other than 200; raised in ``serve_app`` only."""

    code: ClassVar[str] = "service"
    status: ClassVar[int] = 500
