"""What Ray Serve is told, derived from the settings."""

from __future__ import annotations

from typing import Any, Final

from serve_app.settings import ServeSettings

APPLICATION: Final = "fraud"
"""The name in the Ray dashboard, of the application and its one deployment."""

_LOOK_BACK_S: Final = 12.0
"""Serve asks for more than its metrics interval, which is 10 s."""

_MARGIN_S: Final = 5.0


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
            "look_back_period_s": _LOOK_BACK_S,
        },
        # Replacements start before the old replicas stop; the default is the other way round, an outage.
        "max_surge_percent": 100,
        "graceful_shutdown_timeout_s": settings.request_timeout_s + _MARGIN_S,
        "health_check_period_s": 5,
        "health_check_timeout_s": 10,
        "logging_config": {"encoding": "JSON", "enable_access_log": False, "log_level": "WARNING"},
    }
