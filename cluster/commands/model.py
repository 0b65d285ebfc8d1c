"""Commands that make, measure and use models."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

import typer

from cluster.command import Report, command
from cluster.options import (
    Alias,
    Config,
    End,
    Engine,
    Features,
    First,
    LakeUri,
    Last,
    Reference,
    WorkDir,
    Workers,
)

app = typer.Typer()


@command(app)
def train(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    features: Features = None,
    engine: Engine = None,
    workers: Workers = None,
    end: End = None,
    alias: Alias = None,
) -> Report:
    """Train a model on several workers, and register it."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.train import run

    chosen = {"features.feature_set": features, "train.engine": engine, "train.workers": workers}
    settings = load(*config, options={"lake.uri": lake, "work.dir": work, **chosen})
    with connect(settings.ray, name="fraud train"):
        return run(
            wiring.lake(settings),
            wiring.feature_set(settings),
            train=settings.train,
            labels=settings.labels,
            policy=settings.policy,
            tracking=wiring.tracking(settings),
            registry=wiring.registry(settings),
            storage=wiring.work(settings).runs,
            end=end.date() if end else None,
            alias=alias,
        )


@command(app)
def tune(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    features: Features = None,
    trials: Annotated[int | None, typer.Option(help="How many settings to try.")] = None,
    engine: Engine = None,
    workers: Workers = None,
    end: End = None,
    alias: Alias = None,
) -> Report:
    """Search for the best training settings, train with them, and register the model."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from tuning.winner import run

    chosen = {"features.feature_set": features, "train.engine": engine, "train.workers": workers}
    settings = load(*config, options={"lake.uri": lake, "work.dir": work, "tune.trials": trials, **chosen})
    with connect(settings.ray, name="fraud tune"):
        return run(
            wiring.lake(settings),
            wiring.feature_set(settings),
            tune=settings.tune,
            train=settings.train,
            labels=settings.labels,
            policy=settings.policy,
            top_k_cards=settings.evaluate.top_k_cards,
            tracking=wiring.tracking(settings),
            registry=wiring.registry(settings),
            storage=wiring.work(settings).runs,
            reports=wiring.work(settings).reports,
            end=end.date() if end else None,
            alias=alias,
        )


@command(app)
def evaluate(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    protocol: Annotated[
        str | None, typer.Option(help="handbook-baseline, handbook-prequential or handbook-validation.")
    ] = None,
    features: Features = None,
    engine: Engine = None,
    train_d: Annotated[int | None, typer.Option(help="Days of training in a fold.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Measure this model instead of training per fold.")
    ] = None,
) -> Report:
    """Train and measure fold by fold, or measure a model."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.evaluate import run

    chosen = {"features.feature_set": features, "train.engine": engine, "evaluate.train_d": train_d}
    settings = load(*config, options={"lake.uri": lake, "work.dir": work, **chosen})
    bundle = wiring.bundle(settings, model) if model else None
    with connect(settings.ray, name="fraud evaluate"):
        return run(
            wiring.lake(settings),
            bundle.feature_set if bundle else wiring.feature_set(settings),
            protocol=protocol,
            train=settings.train,
            evaluate=settings.evaluate,
            labels=settings.labels,
            policy=settings.policy,
            tracking=wiring.tracking(settings),
            storage=wiring.work(settings).runs,
            bundle=bundle,
        )


@command(app)
def score(
    *,
    config: Config,
    lake: LakeUri,
    work: WorkDir,
    model: Reference = "champion",
    run_kind: Annotated[str, typer.Option(help="live, backfill or rescore.")] = "live",
    first: First = None,
    last: Last = None,
) -> Report:
    """Score all transactions that this model has not scored yet."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.score import run
    from fraud.storage.runs import recorded

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    ref = wiring.registry(settings).resolve(model)
    bundle, policy = wiring.registry(settings).fetch(ref, wiring.work(settings).models)
    tables = wiring.lake(settings)
    days = {"first": first.date() if first else None, "last": last.date() if last else None}
    with connect(settings.ray, name="fraud score"):
        return recorded(
            tables,
            "score",
            lambda: run(
                tables,
                ref,
                bundle,
                policy,
                settings=settings.score,
                run_kind=run_kind,
                tracking=wiring.tracking(settings),
                **days,
            ),
        )


@command(app)
def monitor(
    *, config: Config, lake: LakeUri, work: WorkDir, model: Reference = "champion", as_of: End = None
) -> Report:
    """Measure drift and performance week by week, and write a page about them."""
    from cluster import wiring
    from cluster.runtime import connect
    from cluster.settings import load
    from fraud.jobs.monitor import run

    settings = load(*config, options={"lake.uri": lake, "work.dir": work})
    ref = wiring.registry(settings).resolve(model)
    bundle, _ = wiring.registry(settings).fetch(ref, wiring.work(settings).models)
    with connect(settings.ray, name="fraud monitor"):
        return run(
            wiring.lake(settings),
            bundle.feature_set,
            bundle.reference,
            model_version=ref.version,
            as_of=as_of.replace(tzinfo=UTC) if as_of else None,
            labels=settings.labels,
            monitor=settings.monitor,
            report_dir=wiring.work(settings).reports,
            tracking=wiring.tracking(settings),
        )
