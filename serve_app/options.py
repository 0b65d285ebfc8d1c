"""What Ray Serve is told, derived from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from serve_app.settings import ServeSettings

APPLICATION: Final = "fraud"
"""The name in the Ray dashboard, of the application and of the deployment that answers requests."""
STEWARD: Final = "steward"
"""The name of the deployment that works in the background."""

_METRICS_S: Final = 1.0
"""Between two reports of a replica. Ray calls this setting deprecated, but does not read the variables yet
that it names in its place."""
_LOOK_BACK_S: Final = 6.0

# A frozen replica is out when three checks in a row went unanswered, which no setting changes: within
# 2.2 s + 3 * 4 s and what the controller's loop takes.
_HEALTH_PERIOD_S: Final = 2.0
_HEALTH_TIMEOUT_S: Final = 4.0

IMPATIENT: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Variables for a process that serves without MLflow as well: by itself it asks for minutes."""

_MARGIN_S: Final = 5.0
_LOGGING: Final = {"encoding": "JSON", "enable_access_log": False, "log_level": "WARNING"}


def http_options(settings: ServeSettings) -> dict[str, Any]:
    """Return ``http_options`` for ``serve.start``."""
    return {
        "host": settings.host,
        "port": settings.port,
        "request_timeout_s": settings.request_timeout_s,
    }


def deployment_options(settings: ServeSettings) -> dict[str, Any]:
    """Return the keywords of ``serve.deployment``."""
    return {
        "name": APPLICATION,
        "ray_actor_options": {"num_cpus": settings.cpus_per_replica},
        "max_ongoing_requests": settings.max_ongoing_requests,
        "max_queued_requests": settings.max_queued_requests,
        "backpressure_config": {"status_code": 429, "retry_after_s": 1},
        "autoscaling_config": {
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": settings.target_ongoing_requests,
            "upscale_delay_s": settings.upscale_delay_s,
            "downscale_delay_s": settings.downscale_delay_s,
            "metrics_interval_s": _METRICS_S,
            "look_back_period_s": _LOOK_BACK_S,
        },
        # Replacements start before the old replicas stop; the default is the other way round, an outage.
        "max_surge_percent": 100,
        "graceful_shutdown_timeout_s": settings.request_timeout_s + _MARGIN_S,
        "health_check_period_s": _HEALTH_PERIOD_S,
        "health_check_timeout_s": _HEALTH_TIMEOUT_S,
        "logging_config": dict(_LOGGING),
    }


def steward_options() -> dict[str, Any]:
    """Return the keywords of ``serve.deployment`` for the background work: one process, and never two."""
    return {
        "name": STEWARD,
        "num_replicas": 1,
        # Whatever the replicas take of the node, there is room for it.
        "ray_actor_options": {"num_cpus": 0, "runtime_env": {"env_vars": dict(IMPATIENT)}},
        "graceful_shutdown_timeout_s": _MARGIN_S,
        "logging_config": dict(_LOGGING),
    }
