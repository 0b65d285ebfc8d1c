"""The command line: one JSON object on stdout, the rest on stderr, and exit codes."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.cli import main
from cluster.command import echo, results_only
from cluster.logs import Line


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    root, environment = logging.getLogger(), dict(os.environ)
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    os.environ.clear()
    os.environ.update(environment)


def test_config_prints_one_json_object(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["config", "--work", "here"]) == 0
    out, _ = capfd.readouterr()
    assert json.loads(out)["lake"]["uri"] == f"{tmp_path}/here/lake"
    assert out.count("\n") == 1


def test_refusal_is_one_sentence_and_exit_1(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--config", "none.yaml"]) == 1
    assert capfd.readouterr() == ("", "fraud: none.yaml: no such file\n")


@pytest.mark.parametrize("arguments", [["no-such"], ["config", "--no-such"], ["ingest"], ["state"], []])
def test_wrong_usage_is_exit_2(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert "Usage: fraud" in out + err


def test_help_goes_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert capfd.readouterr().out.startswith("Usage: fraud")


def test_interrupt_is_exit_130(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cluster.settings.load", interrupted)
    assert main(["config"]) == 130
    assert "Traceback" not in capfd.readouterr().err


def test_only_the_result_reaches_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    with results_only():
        print("from Python")
        os.write(1, b"from a library\n")
        echo({"rows": 3})
    print("afterwards")
    out, err = capfd.readouterr()
    assert out == '{"rows": 3}\nafterwards\n'
    assert sorted(err.splitlines()) == ["from Python", "from a library"]


def test_stdout_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="wrong"), results_only():
        raise ValueError("wrong")
    os.write(1, b"back\n")
    assert capfd.readouterr().out == "back\n"


def test_doctor_names_what_is_wrong(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    assert main(["doctor"]) == 1
    out, _ = capfd.readouterr()
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert checks["python"]["ok"]
    assert "chmod 600" in checks["ray token"]["detail"]
    assert "secret" not in out


def test_log_line_shows_the_extra_facts() -> None:
    record = logging.makeLogRecord(
        {"name": "fraud.jobs", "msg": "featurized", "rows": 3, "_ray_timestamp_ns": 1}
    )
    assert Line("%(name)s: %(message)s").format(record) == "fraud.jobs: featurized (rows=3)"
