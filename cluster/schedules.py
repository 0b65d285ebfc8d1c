"""Schedules as they are declared: which commands run when, and what happens when they could not."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from fraud.errors import DeclarationError
from fraud.mapping import yaml_file
from fraud.mapping.yaml_file import close_match

FORMAT_VERSION = 1

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class Declared(BaseModel):
    """Frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(Declared):
    """Commands that run at the ticks of a cron line.

    Attributes:
        cron: Minute, hour, day of month, month, day of week.
        zone: IANA name of the zone of the cron line; ticks move with its summer time.
        commands: What would follow ``fraud``, one after the other; the first that fails ends the job.
        overlap: ``forbid`` lets a tick wait until the job before it has ended, ``replace`` stops that job.
        catch_up: Of the ticks that were missed while nothing watched: ``none``, the ``latest``, or ``all``.
        attempts: How often a job that fails or is stopped is started for one tick.
    """

    cron: str
    zone: str = "UTC"
    commands: tuple[str, ...] = Field(min_length=1)
    overlap: Literal["forbid", "replace"] = "forbid"
    catch_up: Literal["none", "latest", "all"] = "latest"
    attempts: int = Field(default=3, ge=1, le=10)

    @field_validator("zone")
    @classmethod
    def _is_a_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {zone!r}: write one such as Europe/Berlin") from None
        return zone

    @field_validator("cron")
    @classmethod
    def _is_a_cron_line(cls, cron: str) -> str:
        try:
            CronSim(cron, datetime.now(UTC))
        except CronSimError as error:
            problem = str(error)
            raise ValueError(f"{cron!r} is no cron line: {problem[:1].lower()}{problem[1:]}") from None
        return cron

    @model_validator(mode="after")
    def _all_in_order(self) -> Schedule:
        if self.overlap == "replace" and self.catch_up == "all":
            raise ValueError("with `catch_up: all` each missed job would be stopped by the next one")
        return self

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """Return the ticks later than an instant, in order and without end; UTC."""
        for tick in CronSim(self.cron, after.astimezone(ZoneInfo(self.zone))):
            yield tick.astimezone(UTC)


class Schedules(Declared):
    """A file of schedules, by name."""

    format_version: int
    name: str
    schedules: dict[Name, Schedule]


def load(path: Path, commands: Sequence[str]) -> dict[str, Schedule]:
    """Read a file of schedules.

    Args:
        path: The file.
        commands: The names of those there are, to find a misspelt one before it is due.

    Raises:
        DeclarationError: It cannot be used as written.
        FormatVersionError: It was written for another release.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DeclarationError(str(path), f"cannot be read: {error.strerror}") from error
    found = yaml_file.read(text, str(path), Schedules, format_version=FORMAT_VERSION, name=path.stem)
    for name, schedule in found.schedules.items():
        for line in schedule.commands:
            _check_command(line, commands, f"{path}: schedule {name}")
    return found.schedules


def _check_command(line: str, commands: Sequence[str], where: str) -> None:
    words = shlex.split(line)
    if not words or words[0] not in commands:
        named = words[0] if words else ""
        raise DeclarationError(where, f"there is no command {named!r}{close_match(named, commands)}")
