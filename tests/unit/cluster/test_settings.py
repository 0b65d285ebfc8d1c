"""Settings: every one named in base.yaml, laid over each other, and wrong ones refused with a way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.settings import CONFIGS, JOB_VARIABLE, Settings, load, show
from fraud.errors import ConfigError


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(JOB_VARIABLE, raising=False)


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return file


def refusal(*files: Path, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*files, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_base_names_every_setting_with_its_default() -> None:
    base = yaml.safe_load((CONFIGS / "base.yaml").read_text())
    assert base == Settings().model_dump(mode="json")


def test_champion_settings_are_settings() -> None:
    settings = load(CONFIGS / "champion.yaml")
    assert settings.features.feature_set == "rich"
    assert settings.train.train_d == settings.evaluate.train_d


def test_later_file_overrides_setting_by_setting(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "train:\n  rounds: 7\n"))
    assert settings.train.rounds == 7
    assert settings.train.max_depth == 3


def test_variable_overrides_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_TRAIN__ROUNDS", "9")
    assert load(write(tmp_path, "train:\n  rounds: 7\n")).train.rounds == 9


def test_option_overrides_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_TRAIN__ROUNDS", "9")
    assert load(options={"train.rounds": 11}).train.rounds == 11


def test_option_not_given_changes_nothing() -> None:
    assert load(options={"train.rounds": None, "lake.uri": ""}) == load()


def test_variable_of_text_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_MLFLOW__EXPERIMENT", "007")
    assert load().mlflow.experiment == "007"


def test_variable_of_a_list_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_SERVE__ENTITIES", '["card_id"]')
    assert load().serve.entities == ("card_id",)


def test_variable_of_broken_json_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_SERVE__ENTITIES", '["card_id"')
    assert refusal().startswith("FRAUD_SERVE__ENTITIES: is not JSON")


def test_unknown_setting_in_file_is_refused_with_the_nearest(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "train:\n  round: 7\n"))
    assert message.startswith(str(tmp_path / "mine.yaml"))
    assert "did you mean rounds?" in message


def test_unknown_section_in_file_is_refused_with_the_nearest(tmp_path: Path) -> None:
    assert "did you mean train?" in refusal(write(tmp_path, "trian:\n  rounds: 7\n"))


@pytest.mark.parametrize(
    ("variable", "hint"),
    [("FRAUD_SERV__PORT", "serve"), ("FRAUD_SERVE__PRT", "port"), ("FRAUD_TRAIN__ROUNDS__X", "rounds")],
)
def test_unknown_variable_is_refused_with_the_nearest(
    variable: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    message = refusal()
    assert message.startswith("FRAUD_")
    assert hint in message


def test_variable_without_a_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_PORT", "1")
    assert "FRAUD_SECTION__NAME" in refusal()


def test_value_out_of_bounds_names_file_and_setting(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "train:\n  rounds: 0\n"))
    assert message.startswith(f"{tmp_path / 'mine.yaml'}: train.rounds: ")
    assert message.endswith("not 0")


def test_value_out_of_bounds_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_TRAIN__ROUNDS", "many")
    assert refusal().startswith("FRAUD_TRAIN__ROUNDS: train.rounds: ")


def test_value_out_of_bounds_names_the_option() -> None:
    assert refusal(options={"train.rounds": -1}).startswith("--rounds: ")


def test_contradicting_settings_are_refused(tmp_path: Path) -> None:
    assert "max_replicas" in refusal(write(tmp_path, "serve:\n  min_replicas: 3\n  max_replicas: 2\n"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- 1\n", "must hold sections"),
        ("train: 3\n", "section train must hold settings"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_file_of_another_shape_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    assert problem in refusal(write(tmp_path, text))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: no such file"


def test_folder_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize("text", ["", "train:\n"])
def test_empty_file_changes_nothing(text: str, tmp_path: Path) -> None:
    assert load(write(tmp_path, text)) == load()


def test_stores_default_to_the_work_directory(tmp_path: Path) -> None:
    settings = load(options={"work.dir": "w"})
    assert settings.lake.uri == f"{tmp_path}/w/lake"
    assert settings.mlflow.tracking_uri == f"sqlite:///{tmp_path}/w/mlflow.db"
    assert settings.mlflow.artifact_uri == f"{tmp_path}/w/artifacts"


def test_relative_stores_become_absolute(tmp_path: Path) -> None:
    settings = load(options={"lake.uri": "../lake", "mlflow.tracking_uri": "sqlite:///here.db"})
    assert settings.lake.uri == str(tmp_path.parent / "lake")
    assert settings.mlflow.tracking_uri == f"sqlite:///{tmp_path}/here.db"


def test_addresses_of_stores_are_left_alone() -> None:
    settings = load(options={"lake.uri": "s3://bucket/lake", "mlflow.tracking_uri": "http://mlflow:5000"})
    assert settings.lake.uri == "s3://bucket/lake"
    assert settings.mlflow.tracking_uri == "http://mlflow:5000"


def test_relative_path_in_a_ray_job_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOB_VARIABLE, "{}")
    assert "absolute" in refusal()
    assert load(options={"work.dir": "/w"}).lake.uri == "/w/lake"


def test_password_in_an_address_is_masked() -> None:
    shown = show(load(options={"mlflow.tracking_uri": "postgresql://fraud:secret@db/mlflow"}))
    assert shown["mlflow"]["tracking_uri"] == "postgresql://fraud:**********@db/mlflow"
    assert "secret" not in json.dumps(shown)


def test_a_server_keeps_artifacts_itself() -> None:
    assert load(options={"mlflow.tracking_uri": "http://mlflow:5000"}).mlflow.artifact_uri == ""
