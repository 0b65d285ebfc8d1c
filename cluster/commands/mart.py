"""Commands that feed Power BI, Tableau and others."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cluster.command import Report, command
from cluster.options import Config, LakeUri, WorkDir

app = typer.Typer(help="The mart: what reports read.", no_args_is_help=True)


class Format(StrEnum):
    """Of the files of an export."""

    PARQUET = "parquet"
    CSV = "csv"


class Mode(StrEnum):
    """How Power BI reads: at every look, or all of it at every refresh."""

    DIRECT_QUERY = "DirectQuery"
    IMPORT = "Import"


@command(app)
def publish(*, config: Config, lake: LakeUri, work: WorkDir) -> Report:
    """Bring what is new in the lake into the PostgreSQL of FRAUD_MART__URI."""
    from cluster import wiring
    from cluster.settings import load
    from fraud.jobs.mart_publish import run

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    return run(
        wiring.lake(settings),
        settings.mart,
        label_maturity_d=settings.labels.label_maturity_d,
        base_currency=settings.money.base_currency,
        now=datetime.now(UTC),
    )


@command(app)
def export(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Of the files; an earlier export is replaced.")],
    form: Annotated[Format, typer.Option("--format")] = Format.PARQUET,
) -> Report:
    """Write the mart's tables and views as files, without a server."""
    from cluster import wiring
    from cluster.settings import load
    from fraud.jobs.mart_export import run

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    return run(
        wiring.lake(settings),
        settings.mart,
        out.absolute(),
        form=form.value,
        label_maturity_d=settings.labels.label_maturity_d,
        base_currency=settings.money.base_currency,
    )


@command(app)
def powerbi(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Ending in .pbids.")],
    mode: Annotated[Mode, typer.Option()] = Mode.DIRECT_QUERY,
) -> Report:
    """Write a file that opens Power BI at the mart of FRAUD_MART__URI; it holds no secret."""
    from cluster.settings import load
    from fraud import address
    from fraud.errors import NotWrittenError
    from fraud.mart import powerbi

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    found = address.parse(settings.mart.uri.get_secret_value())
    try:
        out.write_text(powerbi.pbids(found, mode.value), encoding="utf-8")
    except OSError as error:
        raise NotWrittenError(str(out), str(error.strerror)) from error
    return {
        "out": str(out.absolute()),
        "server": found.server,
        "database": found.database,
        "mode": mode.value,
    }
