from __future__ import annotations

from collections.abc import Iterator

import pytest
import serving_rollouts
from serve_process import Service
from serving import serving
from serving_rollouts import Models

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return serving_rollouts.prepare(tmp_path_factory.mktemp("rollouts") / "served", 11)


@pytest.fixture(scope="module")
def service(models: Models) -> Iterator[Service]:
    with serving(models.folder, min_replicas=2, max_replicas=2) as service:
        yield service


def test_nobody_notices_that_models_are_swapped(service: Service, models: Models) -> None:
    serving_rollouts.swaps(service, models, seed=1)


def test_nobody_notices_that_the_service_is_deployed_anew(service: Service, models: Models) -> None:
    serving_rollouts.redeployments(service, models, times=10, seed=2)
