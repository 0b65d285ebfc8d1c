"""The drills of the service, each a few times: ``make drills`` does them often."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import serving_inputs
import serving_replicas
import serving_rollouts
from serve_process import Service
from serving import serving
from serving_rollouts import Models

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


LOAD = {"rate": 20.0, "timeout_s": 10.0}
"""Requests a second, and how long a client waits: a machine that also runs the other tests pauses for seconds
while a replica starts; at the rates of the drills it would rightly answer 429."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return serving_rollouts.prepare(tmp_path_factory.mktemp("faults") / "served", 3)


@pytest.fixture(scope="module")
def service(models: Models) -> Iterator[Service]:
    with serving(models.folder, min_replicas=2, max_replicas=2) as service:
        yield service


def test_clients_that_hang_up_stop_nobody(service: Service, models: Models) -> None:
    serving_replicas.hang_ups(service, models.folder, times=50, seed=1)


def test_nobody_notices_that_models_are_swapped(service: Service, models: Models) -> None:
    serving_rollouts.swaps(service, models, seed=2, **LOAD)


def test_bad_inputs_are_refused_as_documented(service: Service) -> None:
    serving_inputs.bad_inputs(service, headers={})


def test_killed_replicas_lose_nothing(service: Service, models: Models) -> None:
    serving_replicas.kills(service, models.folder, times=1, seed=3, **LOAD)


def test_a_replica_stopped_inside_a_transaction_holds_nobody_up(service: Service, models: Models) -> None:
    serving_replicas.stops(service, models.folder, times=1, seed=4, in_transaction=True, **LOAD)


def test_nobody_notices_that_the_service_is_deployed_anew(service: Service, models: Models) -> None:
    serving_rollouts.redeployments(service, models, times=1, seed=5, **LOAD)
