"""A replica as an ASGI application: the door in front of the operations and of FastAPI."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from serve_app import serve_headers
from serve_app.door import Door
from serve_app.keys import Keys
from serve_app.replica import Replica
from serve_app.routes import api, operations
from serve_app.settings import ServeSettings


def application(
    replica: Replica, settings: ServeSettings, *also: Callable[[], Coroutine[Any, Any, None]]
) -> ASGIApp:
    """Return what answers requests to a replica.

    Args:
        replica: Opened.
        settings: For limits and keys.
        also: What else is to run in the background while it serves.
    """
    posts = operations(replica.scorer, settings)
    rest = api(posts, replica.inquiries, settings, partial(replica.running, *also))
    keys = Keys(Path(settings.keys_file)) if settings.keys_file else None
    log, counts = replica.access_log, replica.telemetry
    door = Door(posts, rest, keys=keys, settings=settings, refusals=counts, log=log)
    serve_headers.stand_before(door)
    return door
