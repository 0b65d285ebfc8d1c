"""The options that several commands share."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    list[Path],
    typer.Option(
        "--config", metavar="FILE", default_factory=list, help="Settings that differ.", show_default=False
    ),
]
LakeUri = Annotated[
    str,
    typer.Option(
        "--lake", metavar="URI", default_factory=str, help="Where the tables are.", show_default=False
    ),
]
WorkDir = Annotated[
    str,
    typer.Option(
        "--work", metavar="DIR", default_factory=str, help="The work directory.", show_default=False
    ),
]
Features = Annotated[str | None, typer.Option(metavar="NAME-OR-FILE", help="The feature set.")]
Engine = Annotated[str | None, typer.Option(metavar="ENGINE", help="ray_train or xgboost_ray.")]
Workers = Annotated[int | None, typer.Option(help="Training workers.")]
Reference = Annotated[str, typer.Option(metavar="ALIAS-OR-VERSION", help="A model of the registry.")]


def _ungated(alias: str | None) -> str | None:
    if alias == "champion":
        raise typer.BadParameter("train as challenger, then run `fraud promote`: its gate decides")
    return alias


Alias = Annotated[
    str | None, typer.Option(help="Point this alias at the new model, not champion.", callback=_ungated)
]
End = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Use what was known by the start of this day."),
]
First = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Leave earlier days alone."),
]
Last = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Leave later days alone."),
]
