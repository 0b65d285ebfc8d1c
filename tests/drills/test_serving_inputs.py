from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import serving_inputs
from serve_process import Service
from serving import serving

from serve_app import keys

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs") / "served"


@pytest.fixture(scope="module")
def headers(folder: Path) -> dict[str, str]:
    key, _ = keys.create(folder.parent / "keys", "drill", ["score", "labels", "admin"], now=datetime.now(UTC))
    return {"X-API-Key": key}


@pytest.fixture(scope="module")
def service(folder: Path, headers: dict[str, str]) -> Iterator[Service]:
    with serving(folder, max_replicas=1, keys_file=str(folder.parent / "keys")) as service:
        yield service


def test_a_generated_request_never_fails_the_service(service: Service, headers: dict[str, str]) -> None:
    serving_inputs.generated(service, cases=6000, seed=1, headers=headers)


def test_bad_inputs_are_refused_as_documented(service: Service, headers: dict[str, str]) -> None:
    serving_inputs.bad_inputs(service, headers=headers)


def test_the_same_request_at_once_is_one_decision(
    service: Service, folder: Path, headers: dict[str, str]
) -> None:
    serving_inputs.at_once(service, folder, times=100, headers=headers)


def test_card_numbers_stay_nowhere(service: Service, folder: Path, headers: dict[str, str]) -> None:
    serving_inputs.cards(service, folder, count=1000, seed=2, headers=headers)
