from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import serving_outages
from serve_process import Service
from serving import serving
from serving_outages import Registered

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outages") / "served"


@pytest.fixture(scope="module")
def registered(folder: Path) -> Iterator[Registered]:
    registered = Registered(folder.parent)
    registered.start()
    folder.mkdir()
    registered.fill(folder)
    (folder / "pointer.json").unlink()
    yield registered
    registered.stop()


@pytest.fixture(scope="module")
def service(folder: Path, registered: Registered) -> Iterator[Service]:
    with serving(folder, registry=registered.url, min_replicas=2, max_replicas=2) as service:
        yield service


def test_nobody_notices_that_mlflow_is_gone_for_a_minute(
    service: Service, folder: Path, registered: Registered
) -> None:
    serving_outages.mlflow_stopped(service, folder, registered, seconds=60)


def test_a_deleted_state_is_put_back_and_nobody_notices(service: Service, folder: Path) -> None:
    serving_outages.state_deleted(service, folder, times=5)
