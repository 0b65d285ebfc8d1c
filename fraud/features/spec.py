"""What can be asked for: a feature set, read from YAML once and used by every executor.

    format_version: 1
    name: handbook
    time_zone: UTC
    features:
      - column: amount
      - calendar: night
        hours: [0, 6]
      - categorical: channel
        values: [web, shop]
      - window: card_id
        of: amount
        stats: [count, mean]
        spans: [1d, 7d]
        delay: 0s
        include_self: true
        empty: 0

A feature's name derives from its declaration, and the hash of all declarations is the set's version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fraud.errors import ConfigError, DeclarationError, FormatVersionError
from fraud.features.window import duration_text, duration_us

FORMAT_VERSION: Final = 1

Stat = Literal["count", "sum", "mean"]


def _parse_duration(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no duration: write a whole number and s, m, h or d, such as 7d")  # noqa: TRY004
    return duration_us(value)


Duration = Annotated[int, BeforeValidator(_parse_duration)]


class Declaration(BaseModel):
    """One entry of the list of features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns it fills, in order."""
        raise NotImplementedError


class Column(Declaration):
    """A number of the transaction itself: ``amount`` (base currency, minor units) or a numeric attribute."""

    column: str = Field(min_length=1)

    @property
    def names(self) -> tuple[str, ...]:
        """The column's own name."""
        return (self.column,)


class Categorical(Declaration):
    """An attribute of text as its position in ``values``; any other value is ``len(values)``, none is NaN."""

    categorical: str = Field(min_length=1)
    values: tuple[str, ...] = Field(min_length=1)

    @property
    def names(self) -> tuple[str, ...]:
        """The attribute's own name."""
        return (self.categorical,)


class Calendar(Declaration):
    """A number read off the clock in the set's time zone.

    ``weekend`` is Saturday and Sunday; ``night`` is the local hours from the first to the last of ``hours``,
    both included; ``hour`` is 0 to 23; ``day_of_week`` is 0 (Monday) to 6.
    """

    calendar: Literal["weekend", "night", "hour", "day_of_week"]
    hours: tuple[Annotated[int, Field(ge=0, le=23)], Annotated[int, Field(ge=0, le=23)]] | None = None

    @model_validator(mode="after")
    def _only_night_has_hours(self) -> Calendar:
        if (self.calendar == "night") != (self.hours is not None):
            raise ValueError("write hours: [first, last] with night, and only there")
        if self.hours is not None and self.hours[0] > self.hours[1]:
            raise ValueError("the first hour of a night comes before its last: split a night at midnight")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """``is_weekend``, ``is_night``, ``hour`` or ``day_of_week``."""
        return (f"is_{self.calendar}" if self.calendar in {"weekend", "night"} else self.calendar,)


class Window(Declaration):
    """Statistics of an entity's past; the edges are those of ``fraud.features.window``.

    ``count`` counts transactions. ``sum`` and ``mean`` are of ``amount`` (base currency, minor units) or of
    ``fraud`` (1 where a fraud was known). ``empty`` is what a window without transactions gives as sum
    and mean.
    """

    window: str = Field(min_length=1, description="The entity id column.")
    of: Literal["amount", "fraud"] | None = None
    stats: tuple[Stat, ...] = Field(min_length=1)
    spans: tuple[Duration, ...] = Field(min_length=1)
    delay: Duration = 0
    include_self: bool = True
    empty: float | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Window:
        if self.of is None and set(self.stats) != {"count"}:
            raise ValueError("sum and mean need of: amount or of: fraud")
        if self.of == "fraud" and self.delay == 0:
            raise ValueError("a window of fraud needs a delay, such as delay: 7d: a label takes time")
        if 0 in self.spans:
            raise ValueError("a span is longer than nothing")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Span after span, statistic after statistic, grouped by statistic."""
        return tuple(self.name(stat, span) for stat in self.stats for span in self.spans)

    def name(self, stat: Stat, span: int) -> str:
        """The column of one statistic over one span, for example ``card_id_amount_mean_7d``."""
        parts = [self.window, *([self.of] if self.of and stat != "count" else []), stat, duration_text(span)]
        if self.delay:
            parts += ["delay", duration_text(self.delay)]
        return "_".join(parts)


KINDS: Final[dict[str, type[Declaration]]] = {
    "column": Column,
    "categorical": Categorical,
    "calendar": Calendar,
    "window": Window,
}


@dataclass(frozen=True)
class FeatureSet:
    """An ordered list of features under a name."""

    name: str
    time_zone: str
    declarations: tuple[Declaration, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The feature columns in the model's order."""
        return tuple(name for declaration in self.declarations for name in declaration.names)

    @cached_property
    def version(self) -> str:
        """Eight hex digits of the SHA-256 of the canonical declarations; the set's name does not count."""
        canonical = json.dumps([self.time_zone, self._entries()], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    @property
    def table(self) -> str:
        """The lake's table of these features."""
        return f"features_{self.version}"

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The windows among the declarations."""
        return tuple(entry for entry in self.declarations if isinstance(entry, Window))

    @cached_property
    def entities(self) -> tuple[str, ...]:
        """The entity id columns that windows read, in order of appearance."""
        return tuple(dict.fromkeys(window.window for window in self.windows))

    @cached_property
    def fraud_entities(self) -> tuple[str, ...]:
        """The entities with a window over frauds."""
        return tuple(dict.fromkeys(window.window for window in self.windows if window.of == "fraud"))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The numeric attributes it reads."""
        columns = [entry.column for entry in self.declarations if isinstance(entry, Column)]
        return tuple(column for column in columns if column != "amount")

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The text attributes it reads."""
        return tuple(entry.categorical for entry in self.declarations if isinstance(entry, Categorical))

    @property
    def attributes(self) -> tuple[str, ...]:
        """All attributes it reads."""
        return self.numbers + self.categories

    @property
    def history(self) -> timedelta:
        """How far back a feature can look."""
        longest = max((max(window.spans) + window.delay for window in self.windows), default=0)
        return timedelta(microseconds=longest)

    def to_yaml(self) -> str:
        """Return the canonical text; ``load_text`` of it gives an equal set."""
        whole = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "time_zone": self.time_zone,
            "features": self._entries(),
        }
        return yaml.safe_dump(whole, sort_keys=False)

    def _entries(self) -> list[dict[str, Any]]:
        entries = []
        for declaration in self.declarations:
            entry = declaration.model_dump(mode="json", exclude_none=True)
            if isinstance(declaration, Window):
                entry["spans"] = [duration_text(span) for span in declaration.spans]
                entry["delay"] = duration_text(declaration.delay)
            entries.append(entry)
        return entries


def load(name_or_file: str, folder: Path) -> FeatureSet:
    """Read a feature set by its name in a folder of YAML files, or from a file.

    Raises:
        ConfigError: There is no such file.
        DeclarationError: The file cannot be used as written.
    """
    path = Path(name_or_file) if name_or_file.endswith((".yaml", ".yml")) else folder / f"{name_or_file}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise ConfigError(str(name_or_file), f"no such feature set; there are {known}, or name a .yaml file")
    return load_text(path.read_text(encoding="utf-8"), str(path))


def load_text(text: str, where: str) -> FeatureSet:
    """Read a feature set from YAML.

    Raises:
        DeclarationError: Naming the line and what is wrong there.
        FormatVersionError: The text is of another format version.
    """
    try:
        whole = yaml.safe_load(text)
        lines = _feature_lines(text)
    except yaml.YAMLError as error:
        raise DeclarationError(where, f"this is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(whole, dict):
        raise DeclarationError(where, "expected the keys format_version, name, time_zone and features")
    _check_top(whole, where)
    declarations = tuple(
        _declaration(entry, f"{where}, line {line}")
        for entry, line in zip(whole["features"], lines, strict=True)
    )
    _check_unique(declarations, lines, where)
    return FeatureSet(whole["name"], whole["time_zone"], declarations)


def _feature_lines(text: str) -> list[int]:
    """The line of every entry under ``features``, counted from 1."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return []
    for key, value in root.value:
        if key.value == "features" and isinstance(value, yaml.SequenceNode):
            return [node.start_mark.line + 1 for node in value.value]
    return []


def _check_top(whole: dict[str, Any], where: str) -> None:
    allowed = {"format_version", "name", "time_zone", "features"}
    if unknown := sorted(whole.keys() - allowed):
        raise DeclarationError(
            where, f"unknown key {unknown[0]!r}; the keys are {', '.join(sorted(allowed))}"
        )
    if missing := sorted(allowed - whole.keys()):
        raise DeclarationError(where, f"the key {missing[0]!r} is missing")
    if whole["format_version"] != FORMAT_VERSION:
        raise FormatVersionError(where, whole["format_version"], FORMAT_VERSION)
    if not isinstance(whole["features"], list) or not whole["features"]:
        raise DeclarationError(where, "features is a list of at least one feature")
    if not isinstance(whole["name"], str):
        raise DeclarationError(where, "name is a text")
    try:
        ZoneInfo(str(whole["time_zone"]))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise DeclarationError(
            where, f"time_zone {whole['time_zone']!r} is not known; write UTC or Europe/Berlin"
        ) from error


def _declaration(entry: object, where: str) -> Declaration:
    if not isinstance(entry, dict):
        raise DeclarationError(
            where, f"a feature is one of {', '.join(KINDS)} with its keys, such as - column: amount"
        )
    kinds = [kind for kind in KINDS if kind in entry]
    if not kinds:
        raise DeclarationError(where, f"a feature starts with one of {', '.join(KINDS)}")
    try:
        return KINDS[kinds[-1]].model_validate(entry)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise DeclarationError(where, f"{key}: {problem['msg']}" if key else problem["msg"]) from error


def _check_unique(declarations: tuple[Declaration, ...], lines: list[int], where: str) -> None:
    seen: dict[str, int] = {}
    for declaration, line in zip(declarations, lines, strict=True):
        for name in declaration.names:
            if name in seen:
                raise DeclarationError(
                    f"{where}, line {line}", f"{name} is declared in line {seen[name]} already"
                )
            seen[name] = line
