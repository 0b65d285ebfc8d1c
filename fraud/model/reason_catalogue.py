"""What a customer is told of a reason: sentences by code, a file a language, no value and no threshold.

    format_version: 1
    language: en
    general: We could not confirm this payment
    sentences:
      CARD_VELOCITY: Unusual number of payments with this card
      VELOCITY: Unusual number of payments

A code without a sentence takes that of its longest ending that has one (``WALLET_VELOCITY`` that of
``VELOCITY``), else the general sentence. So codes of entities and attributes of your own are told as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fraud.errors import ConfigError, DeclarationError, FormatVersionError

FORMAT_VERSION: Final = 1

_Sentence = Annotated[str, Field(min_length=1)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    language: _Sentence
    general: _Sentence
    sentences: dict[str, _Sentence]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The sentences of one language."""

    language: str
    general: str
    sentences: Mapping[str, str]

    def sentence(self, code: str) -> str:
        """Return the sentence for a code, of any feature set."""
        words = code.split("_")
        endings = ("_".join(words[start:]) for start in range(len(words)))
        return next((self.sentences[end] for end in endings if end in self.sentences), self.general)


def load(language_or_file: str, folder: Path) -> Catalogue:
    """Read the sentences of a language in a folder of YAML files, or of a file.

    Raises:
        ConfigError: There is no such language or file.
        DeclarationError: The file cannot be used as written.
        FormatVersionError: It is of another format version.
    """
    is_file = language_or_file.endswith((".yaml", ".yml"))
    path = Path(language_or_file) if is_file else folder / f"{language_or_file}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise ConfigError(
            str(language_or_file),
            f"no reasons in this language; set serve.reasons_language to {known}, or to a .yaml file",
        )
    return _parsed(path.read_text(encoding="utf-8"), str(path))


def _parsed(text: str, where: str) -> Catalogue:
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DeclarationError(where, f"this is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise DeclarationError(where, "expected the keys format_version, language, general, sentences")
    version = raw.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise FormatVersionError(where, version, FORMAT_VERSION)
    try:
        file = _File.model_validate(raw)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise DeclarationError(where, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
    return Catalogue(file.language, file.general, file.sentences)
