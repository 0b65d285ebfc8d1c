"""The variables Ray and its libraries read when they are imported, here and in every worker started here."""

from __future__ import annotations

import os
import sys
from typing import Final

from serve_app.options import IMPATIENT

DEFAULTS: Final = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    # A caller's headers do not reach Serve, which would obey them.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.serve_headers.middlewares",
    # A replica that accepts connections and answers nothing gets no requests after two of these.
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
    # What keeps Serve itself busy beside the answers: a datagram a request that HAProxy sends to be parsed in
    # Python (the replicas' own counts say more), and ten looks a second at everything.
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    # A frozen replica is killed at once: it would not hear that it should end. The journal has its answers.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    # Ray runs workers at niceness 15, replicas too: whatever else runs here would come before answers.
    "RAY_worker_niceness": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    # A busy machine starts workers slowly; a frozen worker is noticed; a short training is not waited for.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "180",
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "30",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # An error of ours raised inside a Ray Data function arrives as itself, not as text.
    "RAY_DATA_RAISE_ORIGINAL_MAP_EXCEPTION": "1",
    # One thread a process: Ray starts as many processes as there are CPUs.
    "OMP_NUM_THREADS": "1",
    # glibc gives each new thread an arena of its own, up to eight a CPU, and a replica would grow for hours.
    "MALLOC_ARENA_MAX": "2",
    # Every training worker would draw a bar for each pass over its rows.
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}

LOCAL_DEFAULTS: Final = {
    # A replica waits this long for load balancers elsewhere to forget it: here there are none.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    # Nobody takes this machine away with a warning; watching for it costs every training a process.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}


def set_local_defaults() -> None:
    """Set what suits a Ray of this machine alone, where it is not set."""
    for variable, value in LOCAL_DEFAULTS.items():
        os.environ.setdefault(variable, value)


def set_impatient() -> None:
    """Give up on MLflow soon, where it is not set otherwise: what is in place serves without it."""
    for variable, value in IMPATIENT.items():
        os.environ.setdefault(variable, value)


def set_defaults() -> None:
    """Set what is not set; too late for a library that is imported already."""
    for variable, value in DEFAULTS.items():
        os.environ.setdefault(variable, value)
    if not sys.stderr.isatty():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")
