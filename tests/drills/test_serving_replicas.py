"""Two replicas under load lose one of them, again and again, and nothing that was promised."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import serving_replicas
from serve_process import Service
from serving import serving

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    with serving(folder, min_replicas=2, max_replicas=2) as service:
        yield service


def test_clients_that_hang_up_stop_nobody(service: Service, folder: Path) -> None:
    serving_replicas.hang_ups(service, folder, times=1000, seed=1)


def test_killed_replicas_lose_nothing(service: Service, folder: Path) -> None:
    serving_replicas.kills(service, folder, times=30, seed=2)


def test_a_stopped_replica_is_replaced(service: Service, folder: Path) -> None:
    serving_replicas.stops(service, folder, times=2, seed=3, in_transaction=False)


def test_a_replica_stopped_inside_a_transaction_holds_nobody_up(service: Service, folder: Path) -> None:
    serving_replicas.stops(service, folder, times=2, seed=4, in_transaction=True)
