"""The connection to Ray: the only place that starts or joins one."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cluster import auth, head
from cluster.environment import set_defaults, set_local_defaults
from cluster.logs import quiet_libraries
from cluster.settings import JOB_VARIABLE
from fraud.errors import ClusterError, FraudError

if TYPE_CHECKING:
    from cluster.settings import RaySettings

ADDRESS_VARIABLE = "RAY_ADDRESS"

logger = logging.getLogger(__name__)


@contextmanager
def connect(settings: RaySettings, *, name: str) -> Iterator[str | None]:
    """Join the Ray the settings name, or start a local one and stop it in the end; yield its dashboard's URL.

    Inside a submitted job that is the job's own cluster, whatever the settings say. Errors of this project
    that were raised inside Ray's tasks, trials and training workers come out as themselves.

    Args:
        settings: Which Ray.
        name: What the dashboard calls this run.

    Raises:
        ClusterError: Nothing answers there, or it refuses the token.
    """
    address = _address(settings)
    token = prepare(local=not address)
    if address not in {"", "auto"} and not os.environ.get("RAY_USE_TLS"):
        head.check(address, token, settings.connect_timeout_s)
    import ray  # after its environment is set

    joined = ray.is_initialized()
    dashboard = None if joined else _init(ray, settings, address, name)
    quiet_libraries()
    try:
        yield dashboard
    except Exception as error:
        ours = find_ours(error)
        if ours is None or ours is error:
            raise
        raise ours from error
    finally:
        if not joined:
            ray.shutdown()


def prepare(*, local: bool) -> str | None:
    """Set what Ray reads from the environment, and switch its token on; return the token."""
    set_defaults()
    if local:
        set_local_defaults()
    token = auth.switch_on(create=local)
    if "ray" in sys.modules:
        # Ray remembers from its import whether there was a token; this is how it changes its own mind.
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # compiled

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()
    return token


def find_ours(error: BaseException) -> FraudError | None:
    """The error of this project inside what Ray's task, training or trial wrapped around it."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        cause = getattr(current, "cause", None)
        # RayTaskError(SchemaError) is a SchemaError whose text is a traceback: its cause is the plain one.
        if isinstance(current, FraudError) and not isinstance(cause, FraudError):
            return current
        failures = getattr(current, "worker_failures", None) or {}
        waiting += [cause, *failures.values(), current.__cause__]
    return None


def _address(settings: RaySettings) -> str:
    given = os.environ.get(ADDRESS_VARIABLE, "")
    if JOB_VARIABLE in os.environ:
        return given or "auto"
    return settings.address or given


def _init(ray: Any, settings: RaySettings, address: str, name: str) -> str | None:
    shape = (
        {"address": address}
        if address
        else {
            "address": "local",
            "num_cpus": settings.num_cpus or None,
            "object_store_memory": settings.object_store_memory_bytes,
            "include_dashboard": settings.dashboard,
            "dashboard_host": "127.0.0.1",
            "dashboard_port": settings.dashboard_port,
        }
    )
    job = ray.job_config.JobConfig(metadata={"job_name": name})
    try:
        context = ray.init(job_config=job, logging_level=logging.WARNING, **shape)
    except Exception as error:
        where = f"the Ray at {address}" if address else "a local Ray"
        problem = " ".join(str(error).split()) or type(error).__name__
        raise ClusterError(f"{where} cannot be used: {problem}") from error
    if threading.current_thread() is threading.main_thread():
        # Ray's own handler, set by init, prints a stack and ends the process where it stands.
        signal.signal(signal.SIGTERM, _end)
    dashboard = f"http://{context.dashboard_url}" if context.dashboard_url else None
    logger.info("connected to Ray", extra={"address": address or "local", "dashboard": dashboard})
    return dashboard


def _end(number: int, _frame: object) -> None:
    """Leave through every ``finally``: what was started here is stopped, what was begun is undone."""
    sys.exit(128 + number)
