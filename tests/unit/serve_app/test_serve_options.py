from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from pydantic import ValidationError
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from fraud.errors import ClusterError
from serve_app.options import deployment_options, http_options, steward_options
from serve_app.run import check_port
from serve_app.settings import ServeSettings


def test_autoscaling_and_backpressure_are_serves_own_terms() -> None:
    options = deployment_options(ServeSettings(max_replicas=7, upscale_delay_s=1))
    autoscaling = AutoscalingConfig(**options["autoscaling_config"])
    assert (autoscaling.min_replicas, autoscaling.max_replicas, autoscaling.upscale_delay_s) == (1, 7, 1)
    assert BackpressureConfig(**options["backpressure_config"]).status_code == 429
    assert options["max_surge_percent"] == 100


def test_service_listens_where_the_settings_say() -> None:
    options = http_options(ServeSettings(port=8123, request_timeout_s=2))
    assert options == {"host": "127.0.0.1", "port": 8123, "request_timeout_s": 2}


@pytest.mark.parametrize(
    "changes",
    [
        {"min_replicas": 0},
        {"min_replicas": 3, "max_replicas": 2},
        {"port": 70_000},
        {"max_ongoing_requests": 8},
        {"entities": ["Card Number"]},
        {"unknown": 1},
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ServeSettings.model_validate(changes)


def test_used_port_is_told_in_a_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ClusterError, match=r"stop what uses it, or set serve\.port"):
            check_port("127.0.0.1", other.getsockname()[1])


def test_free_port_and_foreign_address() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    check_port("127.0.0.1", port)
    with pytest.raises(ClusterError, match="cannot listen"):
        check_port("203.0.113.7", port)


def test_settings_import_no_ray() -> None:
    # Ray Serve reads its environment when it is imported: settings are read before that.
    code = "import sys, serve_app.settings, serve_app.options; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_frozen_replica_is_out_within_20_seconds() -> None:
    from ray.serve._private.constants import REPLICA_HEALTH_CHECK_UNHEALTHY_THRESHOLD

    options = deployment_options(ServeSettings())
    period, timeout = options["health_check_period_s"], options["health_check_timeout_s"]
    # Serve varies the period by a tenth, and its loop needs up to a second a check on a busy machine.
    assert 1.1 * period + REPLICA_HEALTH_CHECK_UNHEALTHY_THRESHOLD * (timeout + 1) <= 20


def test_steward_leaves_all_cpus_to_the_replicas_and_never_runs_twice() -> None:
    options = steward_options()
    assert (options["num_replicas"], options["ray_actor_options"]["num_cpus"]) == (1, 0)
    # Serve's own default, 0, stops the old one before the new one starts.
    assert "max_surge_percent" not in options


def test_replicas_report_their_load_several_times_within_the_look_back() -> None:
    autoscaling = deployment_options(ServeSettings())["autoscaling_config"]
    assert autoscaling["look_back_period_s"] >= 5 * autoscaling["metrics_interval_s"]
