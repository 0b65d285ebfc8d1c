"""A mapping file is refused with its line, and with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraud.errors import DeclarationError, FormatVersionError
from fraud.mapping.spec import load

CONFIGS = Path(__file__).parents[3] / "configs" / "mappings"
CORE = """format_version: 1
columns: {transaction_id: id, event_time: at, amount: sum}
amount: {currency: EUR}
"""


def write(folder: Path, text: str) -> str:
    file = folder / "own.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("name", ["handbook", "generic"])
def test_ready_mappings_load_by_name(name: str):
    mapping = load(name, CONFIGS)
    assert mapping.name == name
    assert mapping.columns.transaction_id in mapping.source_columns()


def test_label_time_may_be_missing_where_a_delay_is_stated():
    mapping = load("handbook", CONFIGS)
    assert mapping.optional_columns() == {"LABEL_TIME"}
    dated = mapping.model_copy(update={"labels": mapping.labels.model_copy(update={"delay_d": None})})
    assert dated.optional_columns() == frozenset()


def test_digest_follows_what_is_said_not_how(tmp_path: Path):
    first = load(write(tmp_path, CORE), CONFIGS)
    same = load(write(tmp_path, f"# a comment\nname: other\n{CORE}"), CONFIGS)
    other = load(write(tmp_path, CORE.replace("EUR", "USD")), CONFIGS)
    assert first.digest == same.digest != other.digest


def test_missing_mapping_names_a_close_one():
    with pytest.raises(DeclarationError, match="did you mean handbook"):
        load("handbok", CONFIGS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CORE + "entitys: {card_id: c}\n", "own.yaml:4: unknown key entitys, did you mean entities"),
        (
            CORE.replace("currency", "curency"),
            "own.yaml:3: unknown key amount.curency, did you mean currency",
        ),
        (
            CORE + "labels:\n  column: f\n  delay: 7\n",
            "own.yaml:6: unknown key labels.delay, did you mean delay_d",
        ),
        (CORE + "labels: {column: f}\n", "own.yaml:4: labels: state time_column, or delay_d"),
        (
            CORE + "times: {zone: Europe/Berln}\n",
            "own.yaml:4: times.zone: 'Europe/Berln' is no IANA time zone",
        ),
        (CORE + "times: {formats: ['%d.%m.%Q']}\n", "is no time format"),
        (CORE + "times: {formats: ['%H:%M']}\n", "has no whole date"),
        (CORE + "format: {encoding: utf-9}\n", "'utf-9' is no known encoding"),
        (CORE + "format: {decimal: ',', thousands: ','}\n", "different marks"),
        (CORE.replace("EUR", "EURO"), "'EURO' is no ISO-4217 code"),
        (CORE + "entities: {amount_minor: c}\n", "cannot name a column"),
        (CORE + "attributes: {Big: {column: c, type: number}}\n", "cannot name a column"),
        (
            CORE + "entities: {a: c}\nattributes: {a: {column: c, type: number}}\n",
            "a: both an entity and an attribute",
        ),
        (CORE + "amount: {currency: USD}\n", "own.yaml:4: the key amount stands there twice"),
        ("format_version: 1\nkind: labels\ncolumns: {transaction_id: id}\n", "needs the section labels"),
        ("format_version: 1\ncolumns: {transaction_id: id}\n", "needs columns.event_time"),
        ("columns: [", "own.yaml:1: is no YAML"),
        ("", "is empty"),
    ],
)
def test_unusable_mapping_is_refused_with_its_place(tmp_path: Path, text: str, message: str):
    with pytest.raises(DeclarationError) as refused:
        load(write(tmp_path, text), CONFIGS)
    assert message in str(refused.value)


def test_other_format_version_is_refused(tmp_path: Path):
    with pytest.raises(FormatVersionError, match="format_version 2, this release reads 1"):
        load(write(tmp_path, CORE.replace("format_version: 1", "format_version: 2")), CONFIGS)


def test_yaml_booleans_and_numbers_are_the_values_they_show(tmp_path: Path):
    labels = "labels: {column: f, fraud_values: [true, 1, Y1], delay_d: 7}\n"
    mapping = load(write(tmp_path, CORE + labels), CONFIGS)
    assert mapping.labels.fraud_values == ("true", "1", "Y1")
