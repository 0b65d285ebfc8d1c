"""The background work of a node: a deployment of one replica, beside the replicas that answer.

Serve starts it with the application and again where it dies; no request passes through it. It alone talks to
the registry, so a replica needs no MLflow, and MLflow may be away.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

import ray
from ray import serve
from ray.serve import Application

from fraud.errors import ClusterError, FraudError
from fraud.features.layout import Layout
from fraud.features.spec import FeatureSet
from fraud.jobs import state as state_build
from fraud.jobs import state_follow
from fraud.jobs.ship import Shipper
from fraud.schema import LABELS, TRANSACTIONS
from fraud.storage import alerts
from fraud.storage.alerts import Alert
from fraud.storage.lake import Lake
from fraud.storage.state import OnlineState
from serve_app import logs, progress, served
from serve_app.alias import REFUSED, Alias
from serve_app.chore import Chore
from serve_app.cover import Cover
from serve_app.export import Export
from serve_app.options import steward_options
from serve_app.places import Places
from serve_app.settings import ServeSettings
from serve_app.shipping import Shipping
from serve_app.telemetry import Telemetry

Widen = Callable[[Sequence[FeatureSet]], "Future[str | None]"]

_EXPORT_S: Final = 1.0
_TEND_S: Final = 1.0
_NICE: Final = 19
"""Everything else goes before."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a steward looks after; every path is absolute.

    Attributes:
        lake: Followed into the state; alerts go there.
        tracking_uri: Of the registry.
        model_name: In the registry.
        reference: The alias that names the champion, or a version.
        places: Of the service's files.
    """

    lake: Lake
    tracking_uri: str
    model_name: str
    reference: str
    places: Places


class Steward:
    """Works while it lives: each chore in a thread of its own."""

    def __init__(self, charge: Charge, settings: ServeSettings) -> None:
        logs.attach()
        telemetry = Telemetry()
        duties = Duties(charge, settings, widen=widen_beside(charge), telemetry=telemetry)
        export = Chore("export the counts", _EXPORT_S, Export(telemetry, duties.measure).push)
        self._stop = Event()
        self._threads = [
            Thread(target=chore.repeat, args=(self._stop,), name=chore.name, daemon=True)
            for chore in (*duties.chores, export)
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


class Duties:
    """What a steward does.

    Attributes:
        chores: Each by itself.
    """

    def __init__(
        self, charge: Charge, settings: ServeSettings, *, widen: Widen, telemetry: Telemetry
    ) -> None:
        """Do nothing yet.

        Args:
            charge: What is looked after.
            settings: How often.
            widen: Begins to build a state that serves more features; ends in what went wrong, None for
                nothing.
            telemetry: Counts.
        """
        from fraud.storage.registry import Registry  # MLflow: no replica may import it with this module

        self._lake, self._places, self._telemetry = charge.lake, charge.places, telemetry
        pointer = charge.places.pointer
        progress.tell(pointer, None)  # what a steward before this one was building is not built any more
        self._cover = Cover(self._layout, widen, partial(progress.tell, pointer))
        self._alias = Alias(
            Registry(charge.tracking_uri, charge.model_name, charge.lake),
            charge.reference,
            pointer,
            covers=self._cover.covers,
            alarm=self._alarm,
        )
        self._state: OnlineState | None = None
        self._opening = Lock()
        self._followed = time.monotonic()
        shipper = Shipper(charge.lake, charge.places.journal, keep_s=settings.journal_keep_s)
        self._shipping = Shipping(shipper, telemetry)
        self.chores = [
            Chore("follow the alias", settings.alias_poll_s, self._follow_alias),
            Chore("tend the state", _TEND_S, self._tend),
            Chore("follow the lake", settings.follow_every_s, self._follow_lake),
            Chore("ship the journal", settings.ship_every_s, self._shipping.ship),
        ]

    def measure(self) -> None:
        """Set the gauges."""
        self._telemetry.gauge("alias_age_seconds", time.monotonic() - self._followed)
        self._telemetry.gauge("unshipped_bytes", self._shipping.waiting_bytes())

    def _follow_alias(self) -> None:
        self._alias.follow()
        self._followed = time.monotonic()

    def _tend(self) -> None:
        """Bring a deleted state back, from the file that is open here; or else from lake and journal."""
        state = self._opened()
        if state is None:
            self._cover.covers(served.feature_sets(self._places.pointer))
        elif state.tend():
            logger.warning("the online state was deleted, and is put back")

    def _follow_lake(self) -> None:
        """Bring the lake's news into the state, if there are any."""
        state = self._opened()
        if state is None:
            return
        about = state.about
        read = (about.transactions_version, about.labels_version)
        if read != (self._lake.version(TRANSACTIONS), self._lake.version(LABELS)):
            state_follow.follow(self._lake, self._places.state)

    def _opened(self) -> OnlineState | None:
        """The state, kept open: so its file is there as long as the steward is."""
        with self._opening:
            if self._state is None and self._places.state.is_dir():
                self._state = OnlineState.open(self._places.state)
            return self._state

    def _layout(self) -> Layout:
        state = self._opened()
        return Layout(()) if state is None else state.layout

    def _alarm(self, alert: Alert) -> None:
        if alerts.add(self._lake, alert):
            if alert.kind == REFUSED:
                self._telemetry.count("models_refused")
            logger.error(alert.message, extra={"kind": alert.kind, "subject": alert.subject})


def bind(charge: Charge, settings: ServeSettings) -> Application:
    """Return the deployment, to be bound into the application."""
    application: Application = serve.deployment(**steward_options())(Steward).bind(charge, settings)
    return application


def widen_beside(charge: Charge) -> Widen:
    """Return what begins to build a wider state, in a process of its own that others go before."""
    task = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(_widened).options(name="build an online state")

    def begin(feature_sets: Sequence[FeatureSet]) -> Future[str | None]:
        told: Future[str | None] = task.remote(charge.lake, charge.places, list(feature_sets)).future()
        return told

    return begin


def _widened(lake: Lake, places: Places, feature_sets: Sequence[FeatureSet]) -> str | None:
    """Build it and put it in the place; return what went wrong."""
    os.nice(_NICE)
    try:
        besides = present(places.state)
        state_build.build(lake, feature_sets, places.state, journal=places.journal, besides=besides)
    except FraudError as error:
        return str(error)
    return None


def present(path: Path) -> Layout | None:
    """Return what the state in a folder keeps, None where there is none.

    Raises:
        FormatVersionError: Another release wrote it.
    """
    if not path.is_dir():
        return None
    state = OnlineState.open(path)
    try:
        return state.layout
    finally:
        state.close()
