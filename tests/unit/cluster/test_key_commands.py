"""`fraud key` makes, lists and takes out API keys; the key itself is printed once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.cli import main
from cluster.settings import load
from serve_app.keys import Keys


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAUD_SERVE__KEYS_FILE", "secrets/keys.yaml")


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["key", *arguments]) == 0
    result: dict[str, Any] = json.loads(capfd.readouterr().out)
    return result


def test_a_key_is_made_used_listed_and_revoked(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = run(capfd, "new", "--client", "shop", "--scope", "score", "--scope", "labels", "--days", "90")
    assert (made["client"], made["scopes"]) == ("shop", ["labels", "score"])
    path = tmp_path / "secrets" / "keys.yaml"
    assert Keys(path).find(made["key"].encode()) is not None
    listed = run(capfd, "list")
    assert listed["keys"] == [{name: value for name, value in made.items() if name != "key"}]
    assert run(capfd, "revoke", made["id"])["revoked"]["id"] == made["id"]
    assert run(capfd, "list") == {"keys": []}


def test_what_cannot_be_is_refused_in_a_sentence(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["key", "new", "--client", "shop", "--scope", "everything"]) == 1
    assert "scopes: " in capfd.readouterr().err
    assert main(["key", "list"]) == 1
    monkeypatch.delenv("FRAUD_SERVE__KEYS_FILE")
    assert main(["key", "new", "--client", "shop", "--scope", "score"]) == 1
    assert capfd.readouterr().err.endswith("set it to the file for the hashes of the keys\n")


def test_the_file_is_absolute_before_anything_leaves_this_machine(tmp_path: Path) -> None:
    assert load().serve.keys_file == str(tmp_path / "secrets" / "keys.yaml")
