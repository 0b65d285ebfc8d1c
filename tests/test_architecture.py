"""The house rules that a machine can check."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from cluster.cli import app
from cluster.settings import CONFIGS, load
from fraud import errors
from fraud.features import spec
from fraud.mapping.spec import load as load_mapping

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cluster", "fraud", "serve_app", "tuning")
NO_NAME = {"utils", "util", "common", "misc", "base", "helpers", "helper", "core", "manager"}
PURE = (
    "fraud.features",
    "fraud.model",
    "fraud.monitor",
    "fraud.simulate",
    "fraud.mapping",
    "fraud.mart",
    "fraud.money",
)
HEAVY = ("ray", "mlflow", "deltalake", "lmdb", "duckdb", "adbc_driver_manager", "fastapi", "typer")


def python_files() -> list[Path]:
    return sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def modules(package: str) -> list[str]:
    files = [file.relative_to(ROOT) for file in python_files()]
    names = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    return [name for name in names if name == package or name.startswith(f"{package}.")]


def error_classes() -> list[type[errors.FraudError]]:
    from serve_app import errors as service_errors

    found = [
        kind
        for module in (errors, service_errors)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, errors.FraudError)
    ]
    return sorted(set(found), key=lambda kind: kind.__name__)


def argument(parameter: inspect.Parameter) -> Any:
    """A value of about the right kind for a parameter of an error."""
    kinds = {"int": 3, "float": 0.5, "dict[str, int]": {"why": 1}, "Sequence[str]": ("a", "b")}
    return kinds.get(str(parameter.annotation), parameter.name)


def arguments(kind: type[errors.FraudError]) -> list[Any]:
    if kind.__init__ is Exception.__init__:
        return ["what happened"]
    parameters = [*inspect.signature(kind).parameters.values()]
    return [argument(parameter) for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]


def commands() -> Iterator[list[str]]:
    def below(command: Any, path: list[str]) -> Iterator[list[str]]:
        if not hasattr(command, "commands"):
            yield path
            return
        for name, child in command.commands.items():
            yield from below(child, [*path, name])

    yield from below(get_command(app), [])


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [file for file in python_files() if file.stem in NO_NAME or file.parent.name in NO_NAME] == []


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.name)
def test_settings_file_loads(file: Path) -> None:
    assert load(file)


@pytest.mark.parametrize("file", sorted((CONFIGS / "features").glob("*.yaml")), ids=lambda file: file.stem)
def test_feature_set_loads_and_names_itself(file: Path) -> None:
    assert spec.load(file.stem, CONFIGS / "features").name == file.stem


@pytest.mark.parametrize("file", sorted((CONFIGS / "mappings").glob("*.yaml")), ids=lambda file: file.stem)
def test_mapping_loads(file: Path) -> None:
    assert load_mapping(file.stem, CONFIGS / "mappings").name == file.stem


def test_every_file_of_configs_is_yaml() -> None:
    for file in CONFIGS.rglob("*"):
        if file.is_file():
            assert yaml.safe_load(file.read_text()) is not None, file


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_error_survives_the_way_to_another_process(kind: type[errors.FraudError]) -> None:
    error = kind(*arguments(kind))
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is kind
    assert arrived.args == error.args
    assert vars(arrived) == vars(error)
    assert str(arrived) == str(error) != ""


def test_pure_packages_bring_no_engine_store_or_web() -> None:
    wanted = [name for package in PURE for name in modules(package)]
    script = f"import sys, {', '.join(wanted)}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_importing_the_command_line_brings_nothing_heavy() -> None:
    script = "import sys, cluster.cli; print([name for name in {} if name in sys.modules])".format(
        ("ray", "mlflow", "deltalake", "xgboost", "pandas", "numpy", "pydantic")
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_command_explains_itself(path: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app([*path, "--help"], prog_name="fraud")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"Usage: fraud {' '.join(path)}")


def test_every_command_takes_the_global_options() -> None:
    root = get_command(app)
    for path in commands():
        command: Any = root
        for name in path:
            command = command.commands[name]
        options = {option for parameter in command.params for option in parameter.opts}
        assert path[0] in ("demo", "submit", "mapping") or {"--config", "--lake", "--work"} <= options, path
