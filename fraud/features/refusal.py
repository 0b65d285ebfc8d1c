"""What is wrong with an entry of a feature set and what to write instead, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from fraud.features.kind import Kind


def refusal(kind: type[Kind], error: ValidationError) -> str:
    """Return one sentence on an entry that is none of its kind."""
    # A misspelt key is unknown, and its right spelling missing: the former says more.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]
    key = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        keys = [field.alias or name for name, field in kind.model_fields.items()]
        otherwise = f"; a {kind.keyword} has {', '.join(keys)}"
        return f"unknown key {key}{meant(key, keys, otherwise)}"
    if problem["type"] == "missing":
        lacking = f"the key {key} is" if len(problem["loc"]) == 1 else f"part of {key} is"
        return f"{lacking} missing: write {{{', '.join(kind.example.splitlines())}}}"
    said = _said(problem["type"], problem["input"], problem.get("ctx", {}))
    said = said or problem["msg"].removeprefix("Value error, ").replace("Input", _shown(problem["input"]), 1)
    return f"{key}: {said}" if key else said


def meant(word: object, words: Sequence[str], otherwise: str = "") -> str:
    """Return a guess at what a misspelt word should be."""
    near = get_close_matches(str(word), words, n=1)
    return f"; did you mean {near[0]}?" if near else otherwise


def _said(problem: str, found: Any, context: dict[str, Any]) -> str | None:
    if problem == "tuple_type":
        return f"write a list: [{_shown(found)}]" if isinstance(found, str | int) else "write a list"
    if problem == "too_short":
        return "the list is empty"
    if problem in ("string_type", "string_too_short"):
        if isinstance(found, bool):
            return f"YAML reads this as {_shown(found)}: write it in quotes"
        return f"{_shown(found)} is no text: write a name, in quotes where it looks like a number"
    if problem == "literal_error":
        words = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return f"{_shown(found)} is none of {', '.join(words)}{meant(found, words)}"
    return None


def _shown(found: object) -> str:
    if found is None:
        return "nothing"
    return str(found).lower() if isinstance(found, bool) else str(found)
