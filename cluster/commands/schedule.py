"""Commands that run other commands by the clock."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.command import Report, command
from cluster.options import Config, LakeUri, WorkDir

if TYPE_CHECKING:
    from cluster.schedules import Schedule
    from cluster.settings import Settings

app = typer.Typer()
schedule_app = typer.Typer(help="Commands that run by the clock.", no_args_is_help=True)
app.add_typer(schedule_app, name="schedule")


@command(schedule_app, name="run")
def schedule_run(
    *,
    context: typer.Context,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and end.")] = False,
    working_dir: Annotated[
        Path | None, typer.Option(help="A folder to send to the cluster and run in, as `submit` does.")
    ] = None,
) -> Report | None:
    """Start what is due on a cluster, by the schedules of `schedule.file`, until interrupted."""
    from cluster import scheduler, wiring
    from cluster.scheduled_jobs import ScheduledJobs
    from cluster.settings import load
    from cluster.submit import connected

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    schedules, tables = _schedules(settings, context), wiring.lake(settings)
    options = [part for file in config for part in ("--config", str(file.resolve()))]
    options += ["--work", settings.work.dir, "--lake", settings.lake.uri]
    with _dashboard(settings) as address:
        jobs = ScheduledJobs(connected(address), tuple(options), working_dir)
        look = partial(scheduler.once, schedules, tables, jobs, late_s=settings.schedule.late_s)
        if once:
            return {"done": look(now=datetime.now(UTC))}
        scheduler.watch(lambda now: look(now=now), settings.schedule.every_s)
    return None


@command(schedule_app, name="list")
def schedule_list(*, context: typer.Context, config: Config, lake: LakeUri, work: WorkDir) -> Report:
    """Show every schedule with its last run and its next times."""
    from cluster import scheduler, wiring
    from cluster.settings import load

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    return {
        "schedules": scheduler.listing(
            _schedules(settings, context), wiring.lake(settings), datetime.now(UTC)
        )
    }


def _schedules(settings: Settings, context: typer.Context) -> dict[str, Schedule]:
    from cluster.schedules import load
    from cluster.settings import CONFIGS

    file = Path(settings.schedule.file) if settings.schedule.file else CONFIGS / "schedules" / "daily.yaml"
    whole: Any = context.find_root().command  # a group
    return load(file, list(whole.commands))


@contextmanager
def _dashboard(settings: Settings) -> Iterator[str]:
    """The address of the cluster's dashboard; of a Ray of this machine's own where none is named."""
    from cluster.runtime import ADDRESS_VARIABLE, connect
    from fraud.errors import ConfigError

    named = settings.ray.address or os.environ.get(ADDRESS_VARIABLE, "")
    if named:
        yield named
        return
    # The jobs of a Ray of this machine run with the Python that runs this, activated or not.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with connect(settings.ray, name="fraud schedule") as address:
        if address is None:
            raise ConfigError("ray.dashboard", "jobs are started through the dashboard: switch it on")
        yield address
