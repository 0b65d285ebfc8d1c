"""A feature set: what is asked for, read from YAML once and used by every executor.

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
        empty: 0
      - zscore: amount
        window: card_id
        spans: [30d]

The kinds of entries are those of ``fraud.features.kinds``, and docs/features.md lists them. A feature's name
derives from its declaration, and the hash of all declarations is the set's version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import ValidationError

from fraud import schema
from fraud.errors import ConfigError, DeclarationError, FormatVersionError
from fraud.features.kind import Kind
from fraud.features.kinds import KINDS
from fraud.features.kinds.window import Window
from fraud.features.measure import Measure
from fraud.features.refusal import meant, refusal

FORMAT_VERSION: Final = 1

_KEYS: Final = ("format_version", "name", "time_zone", "features")
_TABLE_COLUMNS: Final = frozenset(schema.features(()).names)


@dataclass(frozen=True)
class FeatureSet:
    """An ordered list of features under a name."""

    name: str
    time_zone: str
    declarations: tuple[Kind, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The feature columns in the model's order."""
        return tuple(name for declaration in self.declarations for name in declaration.names)

    @cached_property
    def measures(self) -> dict[str, Measure]:
        """What each feature measures, in the model's order."""
        found: dict[str, Measure] = {}
        for declaration in self.declarations:
            found |= declaration.measures(found)
        return found

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
    def row_kinds(self) -> tuple[Kind, ...]:
        """The declarations that are no windows themselves: what is computed row by row."""
        return tuple(each for each in self.declarations if not isinstance(each, Window))

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The windows to compute: the declared ones, and those that other kinds stand on."""
        windows = [window for declaration in self.declarations for window in declaration.windows]
        return tuple(dict.fromkeys(windows))

    @cached_property
    def keys(self) -> dict[str, tuple[Window, ...]]:
        """The windows of each entity, an id column or a pair joined by ``+``, in order of appearance."""
        keys = dict.fromkeys(window.key for window in self.windows)
        return {key: tuple(window for window in self.windows if window.key == key) for key in keys}

    @cached_property
    def entities(self) -> tuple[str, ...]:
        """The entity id columns that windows read, in order of appearance."""
        return tuple(dict.fromkeys(column for window in self.windows for column in window.window))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The numeric attributes it reads."""
        read = [name for declaration in self.declarations for name in declaration.numbers]
        return tuple(dict.fromkeys([*read, *(w.of_number for w in self.windows if w.of_number)]))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The text columns it reads besides the entities of windows and the kind."""
        read = [name for declaration in self.declarations for name in declaration.texts]
        read += [window.of_text for window in self.windows if window.of_text]
        read += [column for window in self.windows for column in window.conditions]
        return tuple(name for name in dict.fromkeys(read) if name not in {*self.entities, "kind", "status"})

    @property
    def attributes(self) -> tuple[str, ...]:
        """All attributes it reads."""
        return self.numbers + self.texts

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of transactions that enter any window, and those that are scored."""
        entering = [kind for window in self.windows for kind in window.kinds]
        return tuple(dict.fromkeys([*schema.SCORED_KINDS, *entering]))

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
        return [declaration.entry() for declaration in self.declarations]


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
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = where if mark is None else f"{where}, line {mark.line + 1}"
        said = getattr(error, "problem", None) or str(error)
        raise DeclarationError(place, f"this is not YAML: {said}") from error
    if not isinstance(root, yaml.MappingNode):
        raise DeclarationError(where, f"expected the keys {', '.join(_KEYS)}")
    _check_keys(root, where)
    _check_top(whole, {key.value: f"{where}, line {_line(key)}" for key, _ in root.value}, where)
    (nodes,) = (value.value for key, value in root.value if key.value == "features")
    declarations = []
    above: dict[str, Kind] = {}
    lines: dict[str, int] = {}
    for entry, node in zip(whole["features"], nodes, strict=True):
        place = f"{where}, line {_line(node)}"
        declaration = _declaration(entry, place)
        _check(declaration, above, lines, place)
        declarations.append(declaration)
        above |= dict.fromkeys(declaration.names, declaration)
        lines |= dict.fromkeys(declaration.names, _line(node))
    return FeatureSet(whole["name"], whole["time_zone"], tuple(declarations))


def _line(node: yaml.Node) -> int:
    """Counted from 1."""
    return int(node.start_mark.line) + 1


def _check_keys(node: yaml.Node, where: str) -> None:
    """YAML's reader would silently take the last of two equal keys."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, where)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise DeclarationError(f"{where}, line {_line(key)}", f"the key {key.value} is there twice")
            seen.add(key.value)
            _check_keys(value, where)


def _check_top(whole: dict[Any, Any], lines: dict[str, str], where: str) -> None:
    if unknown := [key for key in whole if key not in _KEYS]:
        place = lines.get(str(unknown[0]), where)
        otherwise = f"; the keys are {', '.join(_KEYS)}"
        raise DeclarationError(place, f"unknown key {unknown[0]}{meant(unknown[0], _KEYS, otherwise)}")
    if missing := [key for key in _KEYS if key not in whole]:
        raise DeclarationError(where, f"the key {missing[0]} is missing")
    if type(whole["format_version"]) is not int:
        raise DeclarationError(lines["format_version"], f"write format_version: {FORMAT_VERSION}")
    if whole["format_version"] != FORMAT_VERSION:
        raise FormatVersionError(where, whole["format_version"], FORMAT_VERSION)
    if not isinstance(whole["features"], list) or not whole["features"]:
        raise DeclarationError(lines["features"], "features is a list of at least one feature")
    if not isinstance(whole["name"], str):
        raise DeclarationError(lines["name"], f"{whole['name']} is no text: write the name in quotes")
    try:
        ZoneInfo(str(whole["time_zone"]))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DeclarationError(
            lines["time_zone"],
            f"the time zone {whole['time_zone']} is not known: write UTC, or a name such as Europe/Berlin",
        ) from error


def _declaration(entry: object, where: str) -> Kind:
    if not isinstance(entry, dict):
        raise DeclarationError(
            where, f"a feature is one of {', '.join(KINDS)} with its keys: - column: amount"
        )
    kinds = [kind for word, kind in KINDS.items() if word in entry]
    if not kinds:
        guesses = [guess for key in entry if (guess := meant(key, tuple(KINDS)))]
        raise DeclarationError(where, f"a feature is one of {', '.join(KINDS)}{''.join(guesses[:1])}")
    # A z-score has a key `window` too, so the kind is the one that is no other's key.
    kind = next(
        (one for one in kinds if not any(one.keyword in o.model_fields for o in kinds if o is not one)),
        kinds[0],
    )
    try:
        return kind.model_validate(entry)
    except ValidationError as error:
        raise DeclarationError(where, refusal(kind, error)) from error


def _check(declaration: Kind, above: dict[str, Kind], lines: dict[str, int], where: str) -> None:
    try:
        declaration.check(above)
    except ValueError as error:
        raise DeclarationError(where, str(error)) from error
    for place, name in enumerate(declaration.names):
        if name in lines:
            raise DeclarationError(where, f"{name} is declared in line {lines[name]} already")
        if name in declaration.names[:place]:
            raise DeclarationError(where, f"{name} is declared twice: name each statistic once")
        if name in _TABLE_COLUMNS:
            raise DeclarationError(where, f"a feature cannot be named {name}: the table has such a column")
