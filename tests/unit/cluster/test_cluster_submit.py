"""What is sent to a cluster: absolute, complete, without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.submit import absolute
from fraud.errors import ConfigError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a file and a folder in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.parquet").touch()
    (tmp_path / "build").mkdir()
    return tmp_path


def test_stores_are_spelled_out(folder: Path) -> None:
    arguments, _ = absolute(["featurize"])
    assert arguments == ["featurize", "--work", f"{folder}/fraud-work", "--lake", f"{folder}/fraud-work/lake"]


def test_relative_stores_become_absolute(folder: Path) -> None:
    arguments, _ = absolute(["featurize", "--work", "w", "--lake=l"])
    assert arguments == ["featurize", "--work", f"{folder}/w", "--lake", f"{folder}/l"]


def test_stores_of_a_settings_file_are_kept(folder: Path) -> None:
    (folder / "mine.yaml").write_text("lake:\n  uri: s3://bucket/lake\nwork:\n  dir: /shared/work\n")
    arguments, _ = absolute(["train", "--config", "mine.yaml"])
    assert arguments == [
        *("train", "--config", f"{folder}/mine.yaml"),
        *("--work", "/shared/work", "--lake", "s3://bucket/lake"),
    ]


@pytest.mark.parametrize(
    ("word", "sent"),
    [
        ("data.parquet", "{folder}/data.parquet"),
        ("later/data.parquet", "{folder}/later/data.parquet"),
        ("--out=later/data", "--out={folder}/later/data"),
        ("/data.parquet", "/data.parquet"),
        ("s3://bucket/data", "s3://bucket/data"),
        ("models:/fraud/3", "models:/fraud/3"),
        ("build", "build"),
        ("handbook", "handbook"),
        ("0.5", "0.5"),
        ("--yes", "--yes"),
    ],
)
def test_paths_become_absolute_and_words_stay(word: str, sent: str, folder: Path) -> None:
    assert absolute(["ingest", word])[0][1] == sent.format(folder=folder)


def test_variables_go_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_TRAIN__ROUNDS", "7")
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    assert absolute(["train"])[1] == {"FRAUD_TRAIN__ROUNDS": "7"}


def test_wrong_settings_are_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_TRAIN__ROUND", "7")
    with pytest.raises(ConfigError, match="did you mean rounds"):
        absolute(["train"])


@pytest.mark.parametrize("command", [[], ["--work", "w"], ["--help"]])
def test_no_command_is_refused(command: list[str]) -> None:
    with pytest.raises(ConfigError, match="names no command"):
        absolute(command)
