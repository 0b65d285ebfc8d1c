from __future__ import annotations

import re
from pathlib import Path

import pytest
from kind_examples import example

from cluster.settings import CONFIGS
from fraud.errors import ConfigError, DeclarationError, FormatVersionError
from fraud.features import spec
from fraud.features.kinds import KINDS
from fraud.features.spec import FeatureSet
from fraud.model.reason_catalogue import Catalogue, load

FOLDER = CONFIGS / "reasons"
LANGUAGES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
SETS: list[FeatureSet] = [
    *(spec.load(file.stem, CONFIGS / "features") for file in sorted((CONFIGS / "features").glob("*.yaml"))),
    *(example(kind) for kind in KINDS.values()),
]


@pytest.fixture(params=LANGUAGES)
def catalogue(request: pytest.FixtureRequest) -> Catalogue:
    return load(request.param, FOLDER)


def test_shipped_languages_name_themselves(catalogue):
    assert catalogue.language in LANGUAGES


def test_every_code_of_every_shipped_set_and_kind_has_a_sentence(catalogue):
    codes = {measure.code for features in SETS for measure in features.measures.values()}
    assert codes - set(catalogue.sentences) == set()


def test_all_languages_tell_the_same_codes():
    first, *others = (set(load(language, FOLDER).sentences) for language in LANGUAGES)
    assert others
    assert all(other == first for other in others)


def test_customer_is_told_no_value_no_threshold_and_no_feature(catalogue):
    technical = {name for features in SETS for name in features.names if "_" in name}
    for sentence in (catalogue.general, *catalogue.sentences.values()):
        assert not re.search(r"[\d%<>=_{}]", sentence), sentence
        assert not any(name in sentence for name in technical)
        assert not any(word.isupper() for word in sentence.split() if len(word) > 1), sentence


def test_longest_known_ending_of_a_code_is_told():
    catalogue = Catalogue("en", "general", {"VELOCITY": "any", "DEVICE_VELOCITY": "device"})
    told = [catalogue.sentence(code) for code in ("MY_DEVICE_VELOCITY", "WALLET_VELOCITY", "WALLET_MOOD")]
    assert told == ["device", "any", "general"]


def test_unknown_language_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"^fr: no reasons in this language; set .* to de, en, or to a"):
        load("fr", FOLDER)


WHOLE = "format_version: 1\nlanguage: xx\ngeneral: g\nsentences: {A: a}\n"


def test_own_file_is_read(tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text(WHOLE)
    assert load(str(file), FOLDER) == Catalogue("xx", "g", {"A": "a"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WHOLE.replace("general: g\n", ""), "general"),
        (WHOLE.replace("{A: a}", "{A: 1}"), "sentences.A"),
        (WHOLE + "more: 1\n", "more"),
        ("- a\n", "expected the keys"),
        ("a: [", "not YAML"),
    ],
)
def test_unusable_file_is_refused(tmp_path: Path, text, said):
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(DeclarationError, match=said):
        load(str(file), FOLDER)


def test_other_format_version_is_refused(tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text(WHOLE.replace("version: 1", "version: 2"))
    with pytest.raises(FormatVersionError, match="format_version 2"):
        load(str(file), FOLDER)
