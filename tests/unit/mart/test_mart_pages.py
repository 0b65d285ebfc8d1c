"""What describes the mart to people and to Power BI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.settings import differences, load, show
from fraud.address import Address, parse, without_password
from fraud.errors import ConfigError
from fraud.mart.dictionary import page
from fraud.mart.powerbi import pbids

PAGE = Path(__file__).parents[3] / "docs" / "mart.md"
URI = "postgresql://publisher:s3cr%2Fet@db.bank.example:5433/reports"


def test_dictionary_is_that_of_the_definition() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run `make docs`"


def test_power_bi_file_names_the_database_and_no_secret() -> None:
    text = pbids(parse(URI), "DirectQuery")
    connection = json.loads(text)["connections"][0]
    assert connection["details"]["protocol"] == "postgresql"
    assert connection["details"]["address"] == {"server": "db.bank.example:5433", "database": "reports"}
    assert connection["mode"] == "DirectQuery"
    assert "s3cr" not in text
    assert "publisher" not in text


@pytest.mark.parametrize(
    "uri",
    ["", "postgresql://u:p/w@h/d", "mysql://u:s3cret@h/d", "postgresql://u:s3cret@h", "postgresql:///d"],
)
def test_uri_that_cannot_be_used_is_refused_without_showing_it(uri: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(uri)
    assert "FRAUD_MART__URI" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_port_is_that_of_postgresql_where_none_is_given() -> None:
    assert parse("postgresql://u@h/d") == Address("h:5432", "d")


@pytest.mark.parametrize("spelled", ["s3cr/et", "s3cr%2Fet"])
def test_password_is_masked_however_it_is_spelled(spelled: str) -> None:
    assert spelled not in without_password(f"could not use {spelled} here", URI)


def test_uri_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"mart:\n  uri: {URI}\n")
    with pytest.raises(ConfigError, match="set FRAUD_MART__URI in the environment") as refused:
        load(tmp_path / "mine.yaml")
    assert "s3cr" not in str(refused.value)


def test_uri_of_the_environment_is_masked_and_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_MART__URI", URI)
    settings = load()
    assert settings.mart.uri.get_secret_value() == URI
    assert "s3cr" not in json.dumps(show(settings))
    assert "mart.uri" not in differences(settings)
