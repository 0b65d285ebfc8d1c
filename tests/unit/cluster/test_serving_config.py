"""`fraud serve --print-config` prints what `serve deploy` takes, and a node builds the service from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from cluster import serving
from cluster.cli import main
from cluster.settings import load
from serve_app.options import deployment_options


def test_printed_configuration_is_one_that_serve_deploys(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--print-config", "--model", "3", "--work", str(tmp_path)]) == 0
    out, _ = capfd.readouterr()
    deploy = ServeDeploySchema.model_validate(yaml.safe_load(out))
    (application,) = deploy.applications
    assert (deploy.http_options.host, deploy.http_options.port) == ("127.0.0.1", 8000)
    assert application.args["reference"] == "3"
    assert [each.name for each in application.deployments] == ["fraud", "steward"]
    asked = deployment_options(load().serve)
    assert application.deployments[0].model_dump(include=set(asked), exclude_unset=True) == asked


def test_settings_come_back_from_the_configuration_as_they_were(tmp_path: Path) -> None:
    settings = load(
        options={"work.dir": str(tmp_path), "serve.port": 8123, "serve.entities": ["card_id", "device_id"]}
    )
    printed = yaml.safe_load(serving.config(settings, "champion"))
    assert load(options=printed["applications"][0]["args"]["settings"]) == settings


def test_passwords_are_not_printed(tmp_path: Path) -> None:
    uri = "postgresql://fraud:secret@db/mlflow"
    settings = load(options={"work.dir": str(tmp_path), "mlflow.tracking_uri": uri})
    assert "secret" not in serving.config(settings, "champion")
