"""Commands that run the whole, or look after it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cluster import environment
from cluster.command import Report, command, echo, tell, write
from cluster.options import Config, LakeUri, Reference, WorkDir

app = typer.Typer()


@command(app)
def serve(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    model: Reference = "champion",
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print what `serve deploy` takes, and serve nothing.")
    ] = False,
) -> None:
    """Serve a model over HTTP until interrupted; prints where, once it answers."""
    from cluster.runtime import connect
    from cluster.settings import load

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    if print_config:
        from cluster import serving

        write(serving.config(settings, model))
        return
    environment.set_impatient()
    with connect(settings.ray, name="fraud serve"):
        from cluster.service import run  # imports Ray Serve, which reads its environment then

        run(settings, reference=model, announce=echo, tell=tell)


@command(app)
def ship(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    journal: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Another journal than the work directory's.")
    ] = None,
) -> Report:
    """Bring what the endpoint journalled into the lake, each record once."""
    from cluster import wiring
    from cluster.settings import load
    from fraud.jobs.ship import run

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    return run(
        wiring.lake(settings),
        (journal or wiring.work(settings).journal).absolute(),
        feature_set=wiring.feature_set(settings),
        keep_s=settings.serve.journal_keep_s,
    )


@command(app)
def vacuum(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
) -> Report:
    """Delete the files of the lake that no version of the last `lake.retention_d` days needs."""
    from cluster import wiring
    from cluster.settings import load
    from fraud.jobs.upkeep import vacuum as run

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    return run(
        wiring.lake(settings),
        retention_d=settings.lake.retention_d,
        label_maturity_d=settings.labels.label_maturity_d,
        dry_run=dry_run,
    )


@command(app)
def optimize(*, config: Config, lake: LakeUri, work: WorkDir) -> Report:
    """Rewrite small files of the lake as few large ones."""
    from cluster import wiring
    from cluster.settings import load
    from fraud.jobs.upkeep import optimize as run

    return run(wiring.lake(load(*config, options={"lake.uri": lake, "work.dir": work})))


@command(app)
def replay(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    since: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="From this day on; the state's own as-of.")
    ],
    rows: Annotated[int, typer.Option(help="Transactions to post.")] = 1_000,
    model: Reference = "champion",
) -> Report:
    """Post past transactions to the running endpoint and compare with their batch scores.

    Where the endpoint asks for a key, it is the one in SCORING_API_KEY.
    """
    from cluster import wiring
    from cluster.replay import run
    from cluster.settings import load

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    ref = wiring.registry(settings).resolve(model)
    return run(
        wiring.lake(settings),
        wiring.bundle(settings, model).feature_set,
        url=f"http://{settings.serve.host}:{settings.serve.port}",
        since=since.replace(tzinfo=UTC),
        rows=rows,
        model_version=ref.version,
        api_key=os.environ.get("SCORING_API_KEY", ""),
    )


@command(app, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def submit(
    *,
    config: Config,
    command_words: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="The command and its options.")
    ],
    address: Annotated[
        str, typer.Option(metavar="URL", help="The dashboard; default ray.address, RAY_ADDRESS.")
    ] = "",
    working_dir: Annotated[Path | None, typer.Option(help="Upload this folder and run in it.")] = None,
) -> Report:
    """Run a command as a job on a cluster: follow its log, print its result."""
    from cluster.settings import load
    from cluster.submit import run

    settings = load(*config, options={"ray.address": address})
    now = datetime.now(UTC)
    return run(command_words, address=settings.ray.address, working_dir=working_dir, now=now, follow=tell)


@command(app)
def demo(
    *,
    config: Config,
    work: Annotated[str, typer.Option(metavar="DIR", help="Its own work directory.")] = "demo-work",
    customers: int = 5_000,
    terminals: int = 10_000,
    days: int = 183,
    trials: int = 4,
    posted: Annotated[int, typer.Option(help="Transactions to post to the endpoint.")] = 500,
) -> Report:
    """Run the whole story: from simulated transactions to a served, monitored model."""
    from cluster.demo import Size, run
    from cluster.settings import load

    size = Size(customers, terminals, days, trials, posted)
    return run(load(*config, options={"work.dir": work}), size, tell=tell)


@command(app)
def doctor(*, config: Config, lake: LakeUri, work: WorkDir) -> None:
    """Check whether this place is fit to run on; exit 1 where it is not."""
    from cluster.doctor import run
    from cluster.settings import load

    report = run(load(*config, options={"lake.uri": lake, "work.dir": work}))
    echo(report)
    raise typer.Exit(0 if report["ok"] else 1)


@command(app, name="config")
def show_config(*, config: Config, lake: LakeUri, work: WorkDir) -> Report:
    """Print the settings in force, secrets masked."""
    from cluster.settings import load, show

    return show(load(*config, options={"lake.uri": lake, "work.dir": work}))
