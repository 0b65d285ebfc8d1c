"""Commands that fit, judge and change the policy of a model."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.command import Report, command
from cluster.options import Config, End, First, LakeUri, Last, WorkDir

if TYPE_CHECKING:
    from cluster.settings import Settings
    from fraud.jobs.policy import Days
    from fraud.model.bundle import Bundle
    from fraud.model.policy import Policy
    from fraud.storage.registry import ModelRef

app = typer.Typer()
policy_app = typer.Typer(help="What a model's probabilities lead to, in money.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")

Version = Annotated[
    str, typer.Option("--version", metavar="ALIAS-OR-VERSION", help="A model of the registry.")
]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
Actor = Annotated[str, typer.Option(help="Who does it; kept in the history.", default_factory=getuser)]


@command(policy_app, name="fit")
def policy_fit(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    version: Version = "champion",
    first: First = None,
    last: Last = None,
) -> Report:
    """Fit a policy to costs and budget, and keep it with the model; what is in force stays so."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.policy import fit

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    registry = wiring.registry(settings)
    ref = registry.resolve(version)
    bundle = registry.bundle(ref, wiring.work(settings).models)
    with connect(settings.ray, name="fraud policy fit"):
        policy, report = fit(
            wiring.lake(settings),
            bundle,
            days=_days(bundle, first, last),
            settings=settings.policy,
            labels=settings.labels,
        )
    registry.keep_policy(ref, policy)
    return {**_named(ref), "policy_digest": policy.digest, "policy": policy.to_json(), **report}


@command(policy_app, name="simulate")
def policy_simulate(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    policies: Annotated[
        list[str],
        typer.Option(
            "--policy",
            metavar="DIGEST-OR-FILE",
            default_factory=list,
            help="A policy to judge besides; may be repeated.",
            show_default=False,
        ),
    ],
    version: Version = "champion",
    first: First = None,
    last: Last = None,
    as_of: End = None,
) -> Report:
    """Decide past days again, by the policy in force, by others, and by a grid of thresholds."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.policy import simulate

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    registry = wiring.registry(settings)
    ref = registry.resolve(version)
    bundle = registry.bundle(ref, wiring.work(settings).models)
    compared = {"in_force": ref.policy_digest, **{name: name for name in policies}}
    with connect(settings.ray, name="fraud policy simulate"):
        report = simulate(
            wiring.lake(settings),
            bundle,
            days=_days(bundle, first, last),
            compared={name: _policy(settings, ref, named) for name, named in compared.items()},
            settings=settings.policy,
            labels=settings.labels,
            as_of=as_of.replace(tzinfo=UTC) if as_of else None,
        )
    return {**_named(ref), "policy_digest": ref.policy_digest, **report}


@command(policy_app, name="activate")
def policy_activate(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    policy: Annotated[
        str, typer.Argument(metavar="DIGEST-OR-FILE", help="Kept by `fraud policy fit`, or a JSON file.")
    ],
    reason: Reason,
    actor: Actor,
    version: Version = "champion",
) -> Report:
    """Put a policy in force for a model; a running service follows."""
    from cluster import wiring
    from cluster.settings import load

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    registry = wiring.registry(settings)
    ref = registry.resolve(version)
    chosen = _policy(settings, ref, policy)
    return _changed(ref, registry.set_policy(ref.version, chosen, actor, reason))


@command(policy_app, name="rollback")
def policy_rollback(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    reason: Reason,
    actor: Actor,
    version: Version = "champion",
) -> Report:
    """Put the policy in force again that was so before; a running service follows."""
    from cluster import wiring
    from cluster.settings import load

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    registry, cache = wiring.registry(settings), wiring.work(settings).models
    ref = registry.resolve(version)
    return _changed(ref, registry.roll_back_policy(ref.version, cache, actor, reason))


@command(policy_app, name="show")
def policy_show(*, config: Config, lake: LakeUri, work: WorkDir, version: Version = "champion") -> Report:
    """Show the policy in force, and its history."""
    from cluster import wiring
    from cluster.settings import load

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    registry = wiring.registry(settings)
    ref = registry.resolve(version)
    policy = registry.policy(ref, ref.policy_digest, wiring.work(settings).models)
    return {
        **_named(ref),
        "policy_digest": ref.policy_digest,
        "policy": policy.to_json(),
        "kept": registry.policies(ref),
        "history": registry.policy_history(ref),
    }


def _named(ref: ModelRef) -> Report:
    return {"model": ref.name, "model_version": ref.version}


def _changed(before: ModelRef, after: ModelRef) -> Report:
    return {**_named(after), "from": before.policy_digest, "policy_digest": after.policy_digest}


def _days(bundle: Bundle, first: datetime | None, last: datetime | None) -> Days:
    """The days asked for, each end of the calibration days where it is left open."""
    from fraud.errors import ConfigError
    from fraud.jobs.policy import Days, calibration_days

    if first and last:
        days = Days(first.date(), last.date() + timedelta(days=1))
    else:
        known = calibration_days(bundle)
        days = Days(
            first.date() if first else known.first, last.date() + timedelta(days=1) if last else known.last
        )
    if days.count < 1:
        raise ConfigError("--first", f"{days.first} is after the last day, {days.report()['last']}")
    return days


def _policy(settings: Settings, ref: ModelRef, named: str) -> Policy:
    """A policy of a JSON file, or one kept with the model, by the beginning of its digest."""
    from cluster import wiring
    from fraud.errors import ConfigError
    from fraud.model.policy import from_json

    file = Path(named)
    if file.is_file():
        try:
            raw = json.loads(file.read_bytes())
        except ValueError as error:
            raise ConfigError(named, "this file is no JSON: give one that holds a policy") from error
        whole = raw if isinstance(raw, dict) else {}
        return from_json(whole.get("policy", whole), path=named)  # the result of a fit will do
    registry = wiring.registry(settings)
    found = [digest for digest in registry.policies(ref) if named and digest.startswith(named)]
    if len(found) != 1:
        how_many = "several policies begin" if found else "no policy begins"
        raise ConfigError(
            f"models:/{ref.name}/{ref.version}",
            f"{how_many} with {named!r}: `fraud policy show` lists those kept, `fraud policy fit` makes one",
        )
    return registry.policy(ref, found[0], wiring.work(settings).models)
