"""The connection to Ray: the only place that starts or joins one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cluster import auth, head
from cluster.logs import quiet_libraries
from cluster.settings import JOB_VARIABLE
from fraud.errors import ClusterError, FraudError

if TYPE_CHECKING:
    from cluster.settings import RaySettings

ADDRESS_VARIABLE = "RAY_ADDRESS"

_DEFAULTS = {
    # Read when Ray, Serve and Train are imported, here and in every worker started from here.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # An error of ours raised inside a Ray Data function arrives as itself, not as text.
    "RAY_DATA_RAISE_ORIGINAL_MAP_EXCEPTION": "1",
    # One thread a process: Ray starts as many processes as there are CPUs.
    "OMP_NUM_THREADS": "1",
}

logger = logging.getLogger(__name__)


@contextmanager
def connect(settings: RaySettings, *, name: str) -> Iterator[str | None]:
    """Join the Ray the settings name, or start a local one and stop it in the end.

    Yields the dashboard's URL, where there is one. Inside a submitted job that is the job's own cluster, whatever the settings say. Errors of this project
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
    import ray  # reads its environment when it is imported

    joined = ray.is_initialized()
    if not joined:
        _init(ray, settings, address, name)
    quiet_libraries()
    try:
        yield _dashboard(ray)
    except Exception as error:
        ours = find_ours(error)
        if ours is None or ours is error:
            raise
        raise ours from error
    finally:
        if not joined:
            ray.shutdown()


def prepare(*, local: bool) -> str | None:
    """Set what Ray reads from the environment when it is imported; return the token."""
    for variable, value in _DEFAULTS.items():
        os.environ.setdefault(variable, value)
    if not sys.stderr.isatty():
        os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    return auth.switch_on(create=local)


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
        waiting += [cause, *failures.values(), current.__cause__, current.__context__]
    return None


def _address(settings: RaySettings) -> str:
    given = os.environ.get(ADDRESS_VARIABLE, "")
    if JOB_VARIABLE in os.environ:
        return given or "auto"
    return settings.address or given


def _init(ray: Any, settings: RaySettings, address: str, name: str) -> None:
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
        ray.init(job_config=job, logging_level=logging.WARNING, **shape)
    except Exception as error:
        where = f"the Ray at {address}" if address else "a local Ray"
        problem = " ".join(str(error).split()) or type(error).__name__
        raise ClusterError(f"{where} cannot be used: {problem}") from error
    logger.info("connected to Ray", extra={"address": address or "local", "dashboard": _dashboard(ray)})


def _dashboard(ray: Any) -> str | None:
    url = ray._private.worker.get_dashboard_url()  # noqa: SLF001 - ray.init alone tells it, and only once
    return f"http://{url}" if url else None
