from __future__ import annotations

import json
from pathlib import Path

import pytest
import ray
from ray import serve

from serve_app.options import deployment_options
from serve_app.settings import ServeSettings


@pytest.mark.ray
def test_facts_reach_the_log_of_a_replica_as_json(ray_cluster: str) -> None:
    class Logging:
        """Refuses a request at once; defined here, for a replica does not import tests."""

        def __init__(self) -> None:
            from serve_app import logs
            from serve_app.access_log import AccessLog

            logs.attach()
            AccessLog(0.05).answered(
                "r-1", "/v1/score", caller="key-1", status=422, seconds=0.001, code="card_number"
            )

    config = deployment_options(ServeSettings())["logging_config"]
    deployment = serve.deployment(name="logging", ray_actor_options={"num_cpus": 0}, logging_config=config)
    try:
        serve.run(deployment(Logging).bind(), name="logging", route_prefix=None)
        logs = Path(ray.nodes()[0]["ObjectStoreSocketName"]).parents[1] / "logs" / "serve"
        lines = [
            json.loads(line)
            for file in logs.glob("replica_logging_*.log")
            for line in file.read_text().splitlines()
        ]
    finally:
        serve.shutdown()
    (refusal,) = [line for line in lines if line["message"] == "request refused"]
    facts = {name: refusal[name] for name in ("levelname", "operation", "caller", "status", "code")}
    assert facts == {
        "levelname": "INFO",
        "operation": "/v1/score",
        "caller": "key-1",
        "status": 422,
        "code": "card_number",
    }
    assert refusal["replica"]
