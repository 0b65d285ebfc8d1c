"""The background work of a node: a deployment of one replica, beside the replicas that answer.

Serve starts it with the application and again where it dies; no request passes through it. It alone talks to
the registry, so a replica needs no MLflow, and MLflow may be away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread

from ray import serve
from ray.serve import Application

from fraud.errors import ClusterError
from fraud.features.layout import Layout
from fraud.features.spec import FeatureSet
from fraud.jobs import state_follow
from fraud.schema import LABELS, TRANSACTIONS
from fraud.storage import alerts
from fraud.storage.alerts import Alert
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState
from serve_app import progress
from serve_app.alias import Alias
from serve_app.chore import Chore
from serve_app.cover import Cover
from serve_app.export import Export
from serve_app.options import steward_options
from serve_app.settings import ServeSettings
from serve_app.telemetry import Telemetry

Widen = Callable[[Sequence[FeatureSet]], "Future[str | None]"]

_EXPORT_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a steward looks after; every path is absolute.

    Attributes:
        lake: Followed into the state; alerts go there.
        tracking_uri: Of the registry.
        model_name: In the registry.
        reference: The alias that names the champion, or a version.
        pointer: The file that replicas follow.
        state: The folder of the online state.
        journal: The folder of the decision journal.
    """

    lake: Lake
    tracking_uri: str
    model_name: str
    reference: str
    pointer: Path
    state: Path
    journal: Path


class Steward:
    """Works while it lives: each chore in a thread of its own."""

    def __init__(self, charge: Charge, settings: ServeSettings) -> None:
        telemetry = Telemetry()
        export = Chore("export the counts", _EXPORT_S, Export(telemetry).push)
        self._stop = Event()
        self._threads = [
            Thread(target=chore.repeat, args=(self._stop,), name=chore.name, daemon=True)
            for chore in (*chores(charge, settings, widen=widen_beside(charge), telemetry=telemetry), export)
        ]
        for thread in self._threads:
            thread.start()

    def check_health(self) -> None:
        """Fail where a thread has ended, which none does by itself."""
        ended = [thread.name for thread in self._threads if not thread.is_alive()]
        if ended:
            raise ClusterError(f"the steward no longer does: {', '.join(ended)}")

    def __del__(self) -> None:
        self._stop.set()


def chores(charge: Charge, settings: ServeSettings, *, widen: Widen, telemetry: Telemetry) -> list[Chore]:
    """Return what is to be done.

    Args:
        charge: What is looked after.
        settings: How often.
        widen: Begins to build a state that serves more features; ends in what went wrong, None for nothing.
        telemetry: Counts.
    """
    from fraud.storage.registry import Registry  # MLflow: no replica may import it with this module

    progress.tell(charge.pointer, None)  # what a steward before this one was building is not built any more
    cover = Cover(partial(_layout, charge.state), widen, partial(progress.tell, charge.pointer))
    alias = Alias(
        Registry(charge.tracking_uri, charge.model_name, charge.lake),
        charge.reference,
        charge.pointer,
        covers=cover.covers,
        alarm=partial(_alarm, charge.lake, telemetry),
    )
    return [
        Chore("follow the alias", settings.alias_poll_s, alias.follow),
        Chore("follow the lake", settings.follow_every_s, partial(_follow, charge.lake, charge.state)),
    ]


def bind(charge: Charge, settings: ServeSettings) -> Application:
    """Return the deployment, to be bound into the application."""
    application: Application = serve.deployment(**steward_options())(Steward).bind(charge, settings)
    return application


def _layout(path: Path) -> Layout:
    state = OnlineState.open(path)
    try:
        return state.layout
    finally:
        state.close()


def _follow(lake: Lake, path: Path) -> None:
    """Bring the lake's news into the state, if there are any."""
    state = OnlineState.open(path)
    read = (state.about.transactions_version, state.about.labels_version)
    state.close()
    if read != (lake.version(TRANSACTIONS), lake.version(LABELS)):
        state_follow.follow(lake, path)


def _alarm(lake: Lake, telemetry: Telemetry, alert: Alert) -> None:
    logger.error(alert.message, extra={"kind": alert.kind, "subject": alert.subject})
    telemetry.count("models_refused")
    alerts.add(lake, alert)


def widen_beside(charge: Charge) -> Widen:
    """Return what begins to build a wider state."""

    def begin(feature_sets: Sequence[FeatureSet]) -> Future[str | None]:
        names = " ".join(f"--features {each.name}" for each in feature_sets)
        told: Future[str | None] = Future()
        told.set_result(f"{charge.state} keeps less than a model needs: run `fraud state build {names}`")
        return told

    return begin
