"""The settings of the whole project: composed here, and read from files, variables and options only here."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError

from cluster.source import PREFIX, Source, from_environment, from_file, from_options, merge
from fraud.errors import ConfigError
from fraud.settings import (
    EvaluateSettings,
    FeatureSettings,
    IngestSettings,
    LabelSettings,
    MartSettings,
    MlflowSettings,
    MoneySettings,
    MonitorSettings,
    PolicySettings,
    PromotionSettings,
    ScoreSettings,
    Section,
    TrainSettings,
)
from serve_app.settings import ServeSettings
from tuning.settings import TuneSettings

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
"""Where base.yaml, the feature sets and the mappings lie: beside the packages."""

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it for the entrypoint of a submitted job, and for nothing else."""


class WorkSettings(Section):
    """The work directory: what the embedded stores write, and everything a run leaves behind."""

    dir: str = Field(default="fraud-work", min_length=1, description="Relative to the current directory.")


class RaySettings(Section):
    """The Ray to work on: a cluster's address, or the shape of the local one."""

    address: str = Field(
        default="",
        description="HOST:PORT of the head, or http://HOST:8265 to submit to. Empty: a local Ray.",
    )
    num_cpus: int = Field(default=0, ge=0, le=4096, description="Of a local Ray. 0: all of this machine.")
    object_store_memory_bytes: int = Field(
        default=1_000_000_000, ge=80_000_000, description="Of a local Ray."
    )
    dashboard: bool = Field(default=True, description="Whether a local Ray has one, on 127.0.0.1.")
    dashboard_port: int = Field(default=8265, ge=1024, le=65535, description="The next free one is taken.")
    connect_timeout_s: float = Field(default=10.0, gt=0, le=300, description="For a cluster to answer.")


class LakeSettings(Section):
    """Where the tables are."""

    uri: str = Field(default="", description="Empty: the folder `lake` of the work directory.")
    retention_d: int = Field(
        default=30, ge=7, le=3_650, description="Days that old versions stay readable; no job is longer."
    )


class ScheduleSettings(Section):
    """Commands that run by the clock, see ``fraud schedule``."""

    file: str = Field(default="", description="Of the schedules. Empty: configs/schedules/daily.yaml.")
    every_s: float = Field(default=10.0, ge=1, le=600, description="Between two looks at what is due.")
    late_s: float = Field(
        default=300.0, ge=0, description="With `catch_up: none`, a tick older than this was missed."
    )


class Settings(Section):
    """Every setting, by section."""

    work: WorkSettings = WorkSettings()
    ray: RaySettings = RaySettings()
    lake: LakeSettings = LakeSettings()
    money: MoneySettings = MoneySettings()
    ingest: IngestSettings = IngestSettings()
    labels: LabelSettings = LabelSettings()
    features: FeatureSettings = FeatureSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    policy: PolicySettings = PolicySettings()
    promotion: PromotionSettings = PromotionSettings()
    score: ScoreSettings = ScoreSettings()
    mlflow: MlflowSettings = MlflowSettings()
    monitor: MonitorSettings = MonitorSettings()
    mart: MartSettings = MartSettings()
    tune: TuneSettings = TuneSettings()
    serve: ServeSettings = ServeSettings()
    schedule: ScheduleSettings = ScheduleSettings()


def load(*files: Path, options: Mapping[str, object] | None = None) -> Settings:
    """Load base.yaml, then the files, then ``FRAUD_SECTION__NAME``, then the options; the last one wins.

    Args:
        files: YAML files that hold only what differs.
        options: ``{"section.name": value}`` from the command line; None and "" mean not given.

    Returns:
        The settings, with every path and local URI absolute.

    Raises:
        ConfigError: A file is missing or unreadable, a name is unknown, or a value is not allowed.
    """
    sources = [
        *(from_file(file) for file in (CONFIGS / "base.yaml", *files)),
        from_environment(os.environ),
        from_options(options or {}),
    ]
    for source in sources:
        _check_names(source)
    try:
        settings = Settings.model_validate(merge(sources))
    except ValidationError as error:
        raise _config_error(error, sources) from error
    return _absolute(settings)


def show(settings: Settings) -> dict[str, Any]:
    """The effective settings as JSON values: secrets masked, passwords inside URIs too."""
    text = re.sub(r"(://[^/:@\"]*:)[^@/\"]+@", r"\1**********@", settings.model_dump_json())
    values: dict[str, Any] = json.loads(text)
    return values


def differences(settings: Settings) -> dict[str, Any]:
    """What differs from the defaults, as ``{"section.name": value}`` for ``load``, secrets left out."""
    own, shown = json.loads(settings.model_dump_json()), show(settings)
    defaults = json.loads(Settings().model_dump_json())
    return {
        f"{section}.{name}": value
        for section, names in own.items()
        for name, value in names.items()
        if value != defaults[section][name]
        and value == shown[section][name]
        and not isinstance(getattr(getattr(settings, section), name), SecretStr)
    }


def _check_names(source: Source) -> None:
    for section, names in source.tree.items():
        field = Settings.model_fields.get(section)
        if field is None or field.annotation is None:
            raise ConfigError(source.name(section), _unknown("section", section, list(Settings.model_fields)))
        known = list(field.annotation.model_fields)
        for name in names:
            if name not in known:
                problem = _unknown(f"setting in section {section}", name, known)
                raise ConfigError(source.name(section, name), problem)
            secret = field.annotation.model_fields[name].annotation is SecretStr
            if secret and names[name] and source.kind != "variable":
                variable = f"{PREFIX}{section}__{name}".upper()
                raise ConfigError(
                    source.name(section, name),
                    f"{section}.{name} is a secret that no file may hold: set {variable} in the environment",
                )


def _unknown(what: str, name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return f"there is no {what} named {name or repr(name)}; {hint}"


def _config_error(error: ValidationError, sources: list[Source]) -> ConfigError:
    """The first problem, told with the file, variable or option that brought the value."""
    problem = error.errors(include_url=False)[0]
    path = [str(part) for part in problem["loc"]]
    names = [source.name(*path[:2]) for source in sources if source.holds(*path[:2])]
    message = problem["msg"].removeprefix("Value error, ")
    given = problem["input"]
    shown = "" if isinstance(given, dict | list | tuple) else f", not {given!r}"
    return ConfigError(names[-1], f"{'.'.join(path)}: {message[:1].lower()}{message[1:]}{shown}")


def _absolute(settings: Settings) -> Settings:
    work = _absolute_path("work.dir", settings.work.dir)
    lake = settings.lake.uri or f"{work}/lake"
    keys = settings.serve.keys_file and _absolute_path("serve.keys_file", settings.serve.keys_file)
    tracking = settings.mlflow.tracking_uri or f"sqlite:///{work}/mlflow.db"
    # A server keeps artifacts where all its clients reach them; a folder of this machine would not do.
    artifacts = settings.mlflow.artifact_uri or (f"{work}/artifacts" if _is_embedded(tracking) else "")
    mlflow = {
        "tracking_uri": _absolute_uri("mlflow.tracking_uri", tracking),
        "artifact_uri": artifacts and _absolute_uri("mlflow.artifact_uri", artifacts),
    }
    return settings.model_copy(
        update={
            "work": settings.work.model_copy(update={"dir": work}),
            "lake": settings.lake.model_copy(update={"uri": _absolute_uri("lake.uri", lake)}),
            "mlflow": settings.mlflow.model_copy(update=mlflow),
            "serve": settings.serve.model_copy(update={"keys_file": keys}),
        }
    )


def _is_embedded(tracking_uri: str) -> bool:
    return tracking_uri.startswith("sqlite:")


def _absolute_uri(setting: str, uri: str) -> str:
    sqlite = "sqlite:///"
    if uri.startswith(sqlite):
        return sqlite + _absolute_path(setting, uri.removeprefix(sqlite))
    return uri if "://" in uri else _absolute_path(setting, uri)


def _absolute_path(setting: str, path: str) -> str:
    expanded = Path(path).expanduser()
    if not expanded.is_absolute() and JOB_VARIABLE in os.environ:
        raise ConfigError(
            setting, f"{path} is relative, which means nothing in a Ray job: give an absolute one"
        )
    # Links are kept: a folder on shared storage is often one, and means the same on every node.
    return os.path.normpath(Path.cwd() / expanded)
