from __future__ import annotations

import time

import pytest
import ray
import requests

from serve_app.export import Export
from serve_app.telemetry import METRICS, Telemetry


@pytest.mark.ray
def test_ray_exposes_every_metric(ray_cluster: str) -> None:
    @ray.remote(num_cpus=0)
    class Counting:
        """Counts one of each; defined here, for a worker does not import tests."""

        def __init__(self) -> None:
            self._telemetry = Telemetry()
            self._export = Export(self._telemetry)

        def count(self) -> None:
            telemetry = self._telemetry
            telemetry.decided("review", degraded="state_busy")
            telemetry.refused("conflict")
            telemetry.shadowed(agrees=True)
            telemetry.stage("total", 0.004)
            telemetry.swapped("7")
            for metric in METRICS:
                if not metric.tags:
                    put = telemetry.count if metric.kind == "counter" else telemetry.gauge
                    put(metric.name.removeprefix("fraud_"), 3)
            self._export.push()

    actor = Counting.remote()
    ray.get([actor.count.remote(), actor.count.remote()])
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    wanted = {f"ray_{metric.name}" + ("_total" if metric.kind == "counter" else "") for metric in METRICS}
    deadline, page = time.monotonic() + 40, ""
    while time.monotonic() < deadline and not all(f"\n{name}{{" in page for name in wanted):
        time.sleep(1)
        page = requests.get(url, timeout=10).text
    lines = [line for line in page.splitlines() if line.startswith("ray_fraud_")]
    assert {line.partition("{")[0] for line in lines} == wanted
    values = {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines}
    assert values["ray_fraud_decisions_total"] == 2
    assert any('degraded="state_busy"' in line for line in lines)
    assert any('le="0.005"' in line and line.endswith(" 2.0") for line in lines)
