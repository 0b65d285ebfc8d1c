"""Commands that fill the lake."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cluster.command import Report, command, echo, tell
from cluster.options import Config, End, Features, LakeUri, WorkDir

_SOURCE = "A file, a folder, a pattern, a Delta table, s3://... of these, or postgresql://USER@HOST/DATABASE."
_VERSIONS = "Of a Delta table: versions whose new rows are wanted, such as 7.. or 7..9."

app = typer.Typer()
mapping_app = typer.Typer(help="Mappings: how a source's columns become the lake's.", no_args_is_help=True)
state_app = typer.Typer(help="The online state of the service.", no_args_is_help=True)
app.add_typer(mapping_app, name="mapping")
app.add_typer(state_app, name="state")


@command(app)
def simulate(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    out: Annotated[Path, typer.Option(help="The folder to write Parquet files into.")],
    profile: str = "handbook",
    customers: int = 5_000,
    terminals: int = 10_000,
    days: int = 183,
    seed: int = 0,
) -> Report:
    """Make up transactions and frauds."""
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.simulate import run

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    size = {"customers": customers, "terminals": terminals, "days": days}
    with connect(settings.ray, name="fraud simulate"):
        return run(out.absolute(), profile=profile, seed=seed, **size)


@command(app)
def ingest(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=_SOURCE)],
    mapping: Annotated[str, typer.Option(metavar="NAME-OR-FILE", help="How its columns are to be read.")],
    versions: Annotated[str | None, typer.Option(metavar="FIRST..LAST", help=_VERSIONS)] = None,
) -> Report:
    """Bring what a source has that is new into the lake."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.ingest import run
    from fraud.storage.runs import recorded

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    declared, tables, now = wiring.mapping(mapping), wiring.lake(settings), datetime.now(UTC)
    named = wiring.source(settings, source, versions)
    with connect(settings.ray, name="fraud ingest"):
        return recorded(
            tables,
            "ingest",
            lambda: run(tables, named, declared, ingest=settings.ingest, money=settings.money, now=now),
        )


@mapping_app.command(name="init")
def mapping_init(
    source: Annotated[str, typer.Argument(metavar="FILES", help="A sample of the source.")],
) -> None:
    """Draft a mapping from a sample: YAML on stdout, every guess marked."""
    from fraud.jobs.mapping import init

    typer.echo(init(source), nl=False)


@command(mapping_app, name="check")
def mapping_check(
    *,
    config: Config,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=_SOURCE)],
    mapping: Annotated[str, typer.Option(metavar="NAME-OR-FILE", help="How its columns are to be read.")],
    versions: Annotated[str | None, typer.Option(metavar="FIRST..LAST", help=_VERSIONS)] = None,
) -> Report:
    """Show what a mapping would accept and refuse; writes nothing."""
    from cluster import wiring
    from cluster.settings import load
    from fraud.jobs.mapping import check

    settings = load(*config)
    named = wiring.source(settings, source, versions)
    return check(named, wiring.mapping(mapping), settings.money, datetime.now(UTC))


@command(app)
def featurize(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    features: Features = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Then compute days of them in three other ways, and compare.")
    ] = False,
    verify_days: Annotated[int, typer.Option(min=1, help="How many days, the newest among them.")] = 3,
) -> Report:
    """Compute the features of all transactions that have none yet."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.featurize import run
    from fraud.storage.runs import recorded

    settings = load(*config, options={"lake.uri": lake, "work.dir": work, "features.feature_set": features})
    tables, feature_set = wiring.lake(settings), wiring.feature_set(settings)
    cluster = partial(connect, settings.ray, name="fraud featurize")
    report = recorded(
        tables, "featurize", lambda: run(tables, feature_set, settings.features, cluster=cluster)
    )
    if verify:
        from fraud.jobs.verify_features import run as run_verify

        report["verified"] = run_verify(tables, feature_set, days=verify_days)
    return report


@command(state_app, name="build")
def state_build(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    features: Annotated[
        list[str],
        typer.Option(
            metavar="NAME-OR-FILE",
            default_factory=list,
            help="A feature set to serve; may be repeated.",
            show_default=False,
        ),
    ],
    as_of: End = None,
) -> Report:
    """Build the online state from the lake."""
    from cluster import wiring
    from cluster.settings import load
    from fraud.jobs.state import build

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    until = as_of.replace(tzinfo=UTC) if as_of else None
    sets = [wiring.feature_set(settings, name) for name in features] or [wiring.feature_set(settings)]
    work_dir = wiring.work(settings)
    return build(wiring.lake(settings), sets, work_dir.state, as_of=until, journal=work_dir.journal)


@command(state_app, name="follow")
def state_follow(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    every: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=1, help="Go on until interrupted.")
    ] = None,
) -> None:
    """Bring what was ingested since into the online state."""
    from cluster import wiring
    from cluster.settings import load
    from fraud.jobs.state_follow import follow, passes

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    tables, state = wiring.lake(settings), wiring.work(settings).state
    echo(follow(tables, state))
    if every is not None:
        passes(tables, state, every, tell)


@command(state_app, name="verify")
def state_verify(*, config: Config, lake: LakeUri, work: WorkDir) -> Report:
    """Compare the online state with a recomputation from the lake."""
    from cluster import wiring
    from cluster.settings import load
    from fraud.jobs.state_verify import verify

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    return verify(wiring.lake(settings), wiring.work(settings).state)
