"""The service on Ray Serve, over real sockets."""

from __future__ import annotations

import asyncio
import http.client
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest
import ray
from factories_serve import CATALOGUE, MONEY, journalled, make_places, make_served, transaction

from fraud.errors import ClusterError
from serve_app.places import Places
from serve_app.settings import ServeSettings

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def settings() -> ServeSettings:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return ServeSettings(port=port, max_replicas=1, pointer_poll_s=0.1)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return make_places(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def url(ray_cluster: None, settings: ServeSettings, places: Places) -> Iterator[str]:
    from serve_app import app, run

    application = app.build(
        settings,
        pointer=places.pointer,
        state=places.state,
        journal=places.journal,
        money=MONEY,
        catalogue=CATALOGUE,
    )
    yield run.start(application, settings)
    run.stop()


def score(url: str, **changes: object) -> httpx.Response:
    return httpx.post(f"{url}/v1/score", json=transaction(**changes))


def test_served_answer_is_stored_and_journalled(url: str, places: Places) -> None:
    first = score(url)
    assert first.status_code == 200
    assert score(url).content == first.content
    assert score(url, amount_minor=1).status_code == 409
    assert journalled(places)[0]["answer"] == first.json()


def test_served_label_is_accepted(url: str) -> None:
    score(url, transaction_id="labelled")
    body = {"transaction_id": "labelled", "is_fraud": True}
    answer = httpx.post(f"{url}/v1/labels", json=body)
    assert (answer.status_code, answer.json()["known"]) == (202, True)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 422, "invalid_json"),
        (b'{"transaction_id":"x"}', 422, "missing_field"),
        (b" " * 20_000, 413, "body_too_large"),
    ],
)
def test_served_refusal_has_the_documented_shape(url: str, body: bytes, status: int, code: str) -> None:
    answer = httpx.post(f"{url}/v1/score", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_what_a_caller_tells_serve_is_taken_out_before_serve_reads_it(url: str) -> None:
    hostile = {"x-request-timeout-seconds": "0", "x-request-id": "of-the-caller"}
    answer = httpx.get(f"{url}/healthz", headers=hostile)
    # Serve writes the id into an answer that has it: only what runs before Serve can take it out again.
    assert answer.headers.get_list("x-request-id") == ["of-the-caller"]


def test_served_same_request_at_once_gets_one_answer(url: str) -> None:
    async def scenario() -> set[bytes]:
        async with httpx.AsyncClient(base_url=url) as client:
            body = transaction(transaction_id="at-once")
            answers = await asyncio.gather(*(client.post("/v1/score", json=body) for _ in range(20)))
        return {answer.content for answer in answers}

    assert len(asyncio.run(scenario())) == 1


def test_served_caller_that_hangs_up_stops_nobody(url: str, places: Places, settings: ServeSettings) -> None:
    for n in range(20):
        connection = http.client.HTTPConnection(settings.host, settings.port)
        connection.request("POST", "/v1/score", orjson.dumps(transaction(transaction_id=f"gone-{n}")))
        connection.close()
    for n in range(20):
        assert score(url, transaction_id=f"gone-{n}").status_code == 200
    ids = {record["answer"]["transaction_id"] for record in journalled(places) if "answer" in record}
    assert {f"gone-{n}" for n in range(20)} <= ids


def test_served_model_is_swapped_without_a_failed_request(url: str, places: Places) -> None:
    make_served(places.pointer.parent, "2", seed=1)
    versions = []
    for n in range(2000):
        answer = score(url, transaction_id=f"swap-{n}")
        assert answer.status_code == 200
        versions.append(answer.json()["model"]["version"])
        if versions[-1] == "2":
            break
    assert versions[-1] == "2"


def test_served_requests_are_counted_and_refusals_logged(url: str, places: Places) -> None:
    score(url, transaction_id="counted")
    assert httpx.post(f"{url}/v1/score", content=b"{", headers={"x-request-id": "seen-1"}).status_code == 422
    (node,) = ray.nodes()
    metrics = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    wanted = (
        r'ray_fraud_decisions_total\{[^}]*decision="approve"[^}]*deployment="fraud"',
        r'ray_fraud_refusals_total\{[^}]*code="invalid_json"',
        r'ray_fraud_stage_seconds_bucket_total\{[^}]*stage="total"',
        r'ray_fraud_model\{[^}]*model_version="\d"[^}]*\} 1.0',
        r"ray_fraud_disk_free_bytes\{",
        r"ray_fraud_state_age_seconds\{",
    )
    deadline, missing = time.monotonic() + 40, list(wanted)
    while missing and time.monotonic() < deadline:
        time.sleep(1)
        page = httpx.get(metrics, timeout=10).text
        missing = [pattern for pattern in wanted if not re.search(pattern, page)]
    assert missing == []
    logs = Path(node["ObjectStoreSocketName"]).parents[1] / "logs" / "serve"
    lines = [
        orjson.loads(line)
        for file in logs.glob("replica_fraud_fraud_*.log")
        for line in file.read_bytes().splitlines()
    ]
    (refusal,) = [line for line in lines if line.get("request_id") == "seen-1"]
    assert (refusal["message"], refusal["code"]) == ("request refused", "invalid_json")
    assert not {"counted", "tok-1"} & {str(value) for line in lines for value in line.values()}


def test_documentation_of_the_service_needs_no_network(url: str) -> None:
    page = httpx.get(f"{url}/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    assert {"/v1/score", "/v1/score/batch", "/v1/events", "/v1/labels"} <= {
        *httpx.get(f"{url}/openapi.json").json()["paths"]
    }


def test_second_service_on_the_port_is_refused(url: str, settings: ServeSettings, tmp_path: Path) -> None:
    from serve_app.run import check_port

    with pytest.raises(ClusterError, match="cannot listen"):
        check_port(settings.host, settings.port)


def test_service_imports_no_mlflow() -> None:
    code = "import sys, serve_app.app; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
