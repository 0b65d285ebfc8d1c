"""Where settings come from: a file, the variables, the options; each remembers what to call its values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from fraud.errors import ConfigError

PREFIX = "FRAUD_"
_OPTIONS = {"work.dir": "--work", "lake.uri": "--lake", "features.feature_set": "--features"}
"""The options that are not called like their setting."""

Tree = dict[str, dict[str, Any]]
"""Values by section and name."""


@dataclass(frozen=True, slots=True)
class Source:
    """Some of the settings, and where they were written.

    Attributes:
        kind: What the user wrote them in.
        tree: The values.
        file: The path of a file.
    """

    kind: Literal["file", "variable", "option"]
    tree: Tree
    file: str = ""

    def holds(self, section: str, name: str | None = None) -> bool:
        """Whether the value comes from here."""
        return section in self.tree and (name is None or name in self.tree[section])

    def name(self, section: str, name: str | None = None) -> str:
        """What the user wrote the value in: the file, the variable or the option."""
        if self.kind == "variable":
            return PREFIX + "__".join(part.upper() for part in (section, name) if part is not None)
        if self.kind == "option":
            return _OPTIONS.get(f"{section}.{name}", f"--{(name or section).replace('_', '-')}")
        return self.file


def from_file(file: Path) -> Source:
    """Read a YAML file of sections.

    Raises:
        ConfigError: There is no such file, or it is not a mapping of sections to names.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(str(file), "no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            str(file), f"cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}" if mark else "somewhere"
        raise ConfigError(str(file), f"is not YAML, see {place}") from error
    if content is None:
        return Source("file", {}, str(file))
    if not isinstance(content, dict):
        raise ConfigError(str(file), "must hold sections, such as `train:`, with settings in them")
    tree = {str(section): _names(file, section, names) for section, names in content.items()}
    return Source("file", tree, str(file))


def from_environment(environment: Mapping[str, str]) -> Source:
    """Take every ``FRAUD_SECTION__NAME``; lists and mappings are written as JSON.

    Raises:
        ConfigError: A variable begins with ``FRAUD_`` and names no section and setting.
    """
    tree: Tree = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX):
            continue
        section, separator, name = variable.removeprefix(PREFIX).lower().partition("__")
        if not separator or not section or not name:
            raise ConfigError(variable, "is not a setting; write FRAUD_SECTION__NAME, with two underscores")
        tree.setdefault(section, {})[name] = _value(variable, text)
    return Source("variable", tree)


def from_options(options: Mapping[str, object]) -> Source:
    """Take ``{"section.name": value}``, leaving out what was not given."""
    tree: Tree = {}
    for path, value in options.items():
        if value is not None and value != "":
            section, _, name = path.partition(".")
            tree.setdefault(section, {})[name] = value
    return Source("option", tree)


def merge(sources: Sequence[Source]) -> Tree:
    """Lay the sources over each other, setting by setting."""
    merged: Tree = {}
    for source in sources:
        for section, names in source.tree.items():
            merged[section] = {**merged.get(section, {}), **names}
    return merged


def _names(file: Path, section: object, names: object) -> dict[str, Any]:
    if names is None:
        return {}
    if not isinstance(names, dict):
        raise ConfigError(str(file), f"section {section} must hold settings, not {names!r}")
    return {str(name): value for name, value in names.items()}


def _value(variable: str, text: str) -> Any:
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(variable, f"is not JSON: {error}") from error
