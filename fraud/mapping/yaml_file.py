"""A YAML file as a validated model, and messages that name the line and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fraud.errors import DeclarationError, FormatVersionError

Model = TypeVar("Model", bound=BaseModel)


def read(text: str, where: str, model: type[Model], *, format_version: int, name: str) -> Model:
    """Validate a YAML text; ``where`` names it in messages, ``name`` is the model's name unless it says one.

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
        raise DeclarationError(
            f"{where}{line}", f"is no YAML: {getattr(broken, 'problem', broken)}"
        ) from broken
    if not isinstance(content, dict) or node is None:
        raise DeclarationError(where, "is empty or has no keys")
    _refuse_twins(node, where)
    if content.get("format_version", format_version) != format_version:
        raise FormatVersionError(f"mapping {where}", content["format_version"], format_version)
    try:
        return model.model_validate({"name": name, **content})
    except ValidationError as wrong:
        # A misspelt key is also a missing one: say the first, it explains the second.
        worst = min(wrong.errors(), key=lambda error: error["type"] != "extra_forbidden")
        raise _declaration_error(worst, model, node, where) from None


def close_match(word: str, known: Sequence[str]) -> str:
    """Return ``, did you mean X?`` where a known word is close, else nothing."""
    folded = {name.casefold(): name for name in known}
    matches = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f", did you mean {folded[matches[0]]}?" if matches else ""


def _declaration_error(
    error: ErrorDetails, model: type[BaseModel], root: yaml.Node, where: str
) -> DeclarationError:
    path = tuple(error["loc"])
    place = f"{where}:{_line(root, path)}"
    key = ".".join(str(step) for step in path)
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        guess = close_match(str(path[-1]), known) or f"; known here: {', '.join(known)}"
        return DeclarationError(place, f"unknown key {key}{guess}")
    if error["type"] == "missing":
        return DeclarationError(place, f"{key} is missing")
    message = error["msg"].removeprefix("Value error, ")
    return DeclarationError(place, f"{key}: {message}" if key else message)


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for step in path:
        field = model.model_fields.get(str(step))
        model = next(_models(field.annotation), model) if field else model
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
            raise DeclarationError(
                f"{where}:{key.start_mark.line + 1}", f"the key {key.value} stands there twice"
            )
        seen.add(key.value)
        _refuse_twins(value, where)
