"""Commands that say which model decides."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import date, datetime, timedelta
from getpass import getuser
from pathlib import Path
from typing import Annotated

import typer

from cluster.command import Report, command
from cluster.options import Config, LakeUri, WorkDir

app = typer.Typer()

Actor = Annotated[str, typer.Option(help="Who does it; kept in the history.", default_factory=getuser)]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="To compare on.")]


@command(app)
def register(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    source: Annotated[str, typer.Argument(metavar="RUN-OR-FOLDER", help="A run's id, or a bundle's folder.")],
    policy: Annotated[Path | None, typer.Option(help="The policy.json in force for it.")] = None,
) -> Report:
    """Make a version of a bundle: of a run, once more, or of a folder."""
    from cluster import wiring
    from cluster.settings import load
    from fraud.jobs.register import run

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    return run(wiring.registry(settings), wiring.tracking(settings), source, policy_file=policy)


@command(app)
def promote(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A version or another alias.")],
    reason: Reason,
    actor: Actor,
    alias: Annotated[
        str, typer.Option(help="What to point at it; champion has to pass the gate.")
    ] = "champion",
    first: Day = None,
    last: Day = None,
    force: Annotated[bool, typer.Option("--force", help="Without the gate; noted as forced.")] = False,
) -> Report:
    """Point an alias at a model; a running service follows."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.promote import Terms, run

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    terms = Terms(settings.promotion, settings.labels, settings.policy, _day(first), _after(last))
    is_gated = alias == "champion" and not force
    with connect(settings.ray, name="fraud promote") if is_gated else nullcontext():
        return run(
            wiring.lake(settings),
            wiring.registry(settings),
            version=version,
            alias=alias,
            actor=actor,
            reason=reason,
            force=force,
            terms=terms,
            cache=wiring.work(settings).models,
            reports=wiring.work(settings).reports,
            state=wiring.work(settings).state,
        )


@command(app)
def rollback(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    reason: Reason,
    actor: Actor,
    alias: Annotated[str, typer.Option(help="What to move back.")] = "champion",
) -> Report:
    """Point an alias at the version before, without the gate; again, at the one before that."""
    from cluster import wiring
    from cluster.settings import load

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    registry = wiring.registry(settings)
    before = registry.aliases().get(alias)
    ref = registry.roll_back(alias, actor, reason)
    return {**ref.named(alias), "from": before, "how": "rollback"}


@command(app)
def history(*, config: Config, lake: LakeUri, work: WorkDir) -> Report:
    """List every promotion, rollback and change of a policy, oldest first."""
    from cluster import wiring
    from cluster.settings import load

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    registry = wiring.registry(settings)
    return {"model": registry.model_name, "aliases": registry.aliases(), "changes": registry.history()}


def _day(instant: datetime | None) -> date | None:
    return instant.date() if instant else None


def _after(instant: datetime | None) -> date | None:
    """The day after the last one."""
    return instant.date() + timedelta(days=1) if instant else None
