"""Reading a mapping file, and saying at which line it is wrong and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fraud.errors import DeclarationError, FormatVersionError
from fraud.mapping.spec import FORMAT_VERSION, Mapping


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
            f"no such mapping{_close(name_or_file, ready)} "
            f"(ready: {', '.join(ready)}; `fraud mapping init` drafts one from a source)",
        )
    try:
        text = file.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as broken:
        raise DeclarationError(str(file), "cannot be read as UTF-8 text") from broken
    return load_text(text, str(file), name=file.stem)


def load_text(text: str, where: str, *, name: str) -> Mapping:
    """Validate the text of a mapping file; ``where`` names it in messages.

    Raises:
        DeclarationError: It cannot be used as written; the message names the line.
        FormatVersionError: It was written for another release.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as broken:
        mark = getattr(broken, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise DeclarationError(f"{where}{line}", f"is no YAML: {getattr(broken, 'problem', broken)}") from broken
    if not isinstance(content, dict) or node is None:
        raise DeclarationError(where, "is empty or no mapping of keys to values")
    _refuse_twins(node, where)
    if content.get("format_version", FORMAT_VERSION) != FORMAT_VERSION:
        raise FormatVersionError(f"mapping {where}", content["format_version"], FORMAT_VERSION)
    try:
        return Mapping.model_validate({"name": name, **content})
    except ValidationError as wrong:
        raise _declaration_error(wrong.errors()[0], node, where) from None


def _declaration_error(error: ErrorDetails, root: yaml.Node, where: str) -> DeclarationError:
    path = tuple(error["loc"])
    place = f"{where}:{_line(root, path)}"
    key = ".".join(str(step) for step in path) or "the mapping"
    if error["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        return DeclarationError(place, f"unknown key {key}{_close(str(path[-1]), known)}; known: {', '.join(known)}")
    if error["type"] == "missing":
        return DeclarationError(place, f"{key} is missing")
    return DeclarationError(place, f"{key}: {error['msg'].removeprefix('Value error, ')}")


def _close(word: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {matches[0]}?" if matches else ""


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Mapping
    for step in path:
        field = model.model_fields.get(str(step))
        inner = [kind for kind in _models(field.annotation)] if field else []
        model = inner[0] if inner else model
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _line(node: yaml.Node, path: tuple[int | str, ...]) -> int:
    """Return the line of the deepest part of the path that the file has, counted from 1."""
    line = node.start_mark.line + 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
            if not found:
                return line
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def _refuse_twins(node: yaml.Node, where: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twins(item, where)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            raise DeclarationError(f"{where}:{key.start_mark.line + 1}", f"the key {key.value} stands there twice")
        seen.add(key.value)
        _refuse_twins(value, where)
