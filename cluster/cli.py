"""The command line. A command loads the settings, connects, calls one function and returns its report."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import Abort, TyperException

from cluster import logs
from cluster.options import Config, Day, Engine, Features, LakeUri, Model, WorkDir, Workers
from cluster.output import echo, results_only
from fraud.errors import FraudError

Report = dict[str, Any]

app = typer.Typer(
    name="fraud",
    help="Card-fraud detection on Ray: from files to decisions.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
mapping_app = typer.Typer(help="Mappings: how a source's columns become the lake's.", no_args_is_help=True)
state_app = typer.Typer(help="The online state of the service.", no_args_is_help=True)
app.add_typer(mapping_app, name="mapping")
app.add_typer(state_app, name="state")


def command(group: typer.Typer = app, **options: Any) -> Callable[[Callable[..., Report | None]], Any]:
    """Register a command whose report is printed as one JSON object, and nothing else on stdout."""

    def register(function: Callable[..., Report | None]) -> Any:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            with results_only():
                report = function(*args, **kwargs)
                if report is not None:
                    echo(report)

        return group.command(**options)(run)

    return register


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted."""
    logs.configure()
    try:
        code = app(arguments, standalone_mode=False, prog_name="fraud")
    except TyperException as error:
        error.show() if hasattr(error, "show") else print(error, file=sys.stderr)
        return error.exit_code
    except FraudError as error:
        print(f"fraud: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Abort):
        return 130
    return code if isinstance(code, int) else 0


@command()
def simulate(
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
    with connect(settings.ray, name="fraud simulate"):
        return run(
            out.absolute(), profile=profile, customers=customers, terminals=terminals, days=days, seed=seed
        )


@command()
def ingest(
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A file, folder or pattern: CSV or Parquet.")
    ],
    mapping: Annotated[str, typer.Option(metavar="NAME-OR-FILE", help="How its columns are to be read.")],
) -> Report:
    """Bring files into the lake."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.ingest import run

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    declared = wiring.mapping(mapping)
    with connect(settings.ray, name="fraud ingest"):
        return run(
            wiring.lake(settings),
            str(Path(source).absolute()),
            declared,
            ingest=settings.ingest,
            money=settings.money,
            now=datetime.now(UTC),
        )


@command()
def featurize(config: Config, lake: LakeUri, work: WorkDir, features: Features = None) -> Report:
    """Compute the features of all transactions that have none yet."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.featurize import run

    settings = load(*config, options={"lake.uri": lake, "work.dir": work, "features.feature_set": features})
    with connect(settings.ray, name="fraud featurize"):
        return run(wiring.lake(settings), wiring.feature_set(settings), settings.features)


@command(state_app, name="build")
def state_build(
    config: Config, lake: LakeUri, work: WorkDir, features: Features = None, as_of: Day = None
) -> Report:
    """Build the online state from the lake, with what was known before a day."""
    from cluster import wiring
    from cluster.settings import load
    from fraud.jobs.state import build

    settings = load(*config, options={"lake.uri": lake, "work.dir": work, "features.feature_set": features})
    until = as_of and as_of.replace(tzinfo=UTC)
    return build(
        wiring.lake(settings), wiring.feature_set(settings), wiring.work(settings).state, as_of=until
    )


@command()
def demo(config: Config, work: Annotated[str, typer.Option(metavar="DIR")] = "demo-work") -> Report:
    """Run the whole story, small: simulate, ingest, featurize, tune, promote, score."""
    from cluster.demo import run
    from cluster.settings import load

    return run(load(*config, options={"work.dir": work}))


@command()
def doctor(config: Config, lake: LakeUri, work: WorkDir) -> None:
    """Check whether this place is fit to run on; exit 1 where it is not."""
    from cluster.doctor import run
    from cluster.settings import load

    report = run(load(*config, options={"lake.uri": lake, "work.dir": work}))
    echo(report)
    if not report["ok"]:
        raise typer.Exit(1)


@command(name="config")
def show_config(config: Config, lake: LakeUri, work: WorkDir) -> Report:
    """Print the settings in force, secrets masked."""
    from cluster.settings import load, show

    return show(load(*config, options={"lake.uri": lake, "work.dir": work}))
