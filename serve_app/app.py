"""The Serve application: one deployment, everything of a request in one process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from ray import serve
from ray.serve import Application
from starlette.types import ASGIApp

from fraud.model.reason_catalogue import Catalogue
from fraud.settings import MoneySettings
from serve_app import logs
from serve_app.asgi import application
from serve_app.export import Export
from serve_app.options import deployment_options
from serve_app.places import Places
from serve_app.replica import Replica
from serve_app.settings import ServeSettings

_SWITCH_S: Final = 0.000_5
"""For how long the event loop may keep the interpreter from the thread that writes the journal, for which
answers wait; Python's own is ten times as long."""


class Endpoint:
    """A replica as Serve wants it: built once a process, asked for its ASGI app and its health."""

    def __init__(
        self,
        places: Places,
        money: MoneySettings,
        catalogue: Catalogue,
        settings: ServeSettings,
        _steward: object = None,  # bound, so that Serve runs it too; no request passes through it
    ) -> None:
        logs.attach()
        sys.setswitchinterval(_SWITCH_S)
        self._replica = Replica(places, money, catalogue, settings)
        self._settings = settings

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the application whose routes use this replica."""
        return application(self._replica, self._settings, Export(self._replica.telemetry).run)

    async def check_health(self) -> None:
        """Fail where the model cannot score; never waits for the state's write lock."""
        self._replica.probe()


def build(
    settings: ServeSettings,
    *,
    pointer: Path,
    state: Path,
    journal: Path,
    money: MoneySettings,
    catalogue: Catalogue,
    steward: Application | None = None,
) -> Application:
    """Return the application for ``serve.run``.

    The files are opened in the replicas. All paths must be absolute: a replica has a working directory of
    its own.

    Args:
        settings: Its shape and limits.
        pointer: The file that names the model to serve, see ``serve_app.served``.
        state: The folder of the online state.
        journal: The folder of the decision journal, made if missing.
        money: The base currency and the rates.
        catalogue: What customers are told of reasons.
        steward: The background work, see ``serve_app.steward``; None where nobody is to follow anything.
    """
    deployment = serve.deployment(**deployment_options(settings))(serve.ingress()(Endpoint))
    bound: Application = deployment.bind(Places(pointer, state, journal), money, catalogue, settings, steward)
    return bound
