"""Jobs on a real head with a token: sent, named, refused."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.ray

TOKEN = secrets.token_hex(32)
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Head:
    """A Ray head started for this module."""

    gcs: str
    dashboard: str
    environment: Mapping[str, str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def jobs(dashboard: str) -> list[dict[str, Any]] | None:
    """What the Jobs API lists; None while nothing answers."""
    try:
        answer = httpx.get(f"{dashboard}/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    except httpx.TransportError:
        return None
    return answer.json() if answer.status_code == 200 else None


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Start a head of its own ports and folder; end it by its process group alone."""
    gcs, dashboard, agent = free_port(), free_port(), free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FRAUD_"))}
    environment = {
        **clean,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    # Ray's sockets lie in this folder, and a socket's path is 107 characters long at most.
    with tempfile.TemporaryDirectory(prefix="fraud-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                *(BIN / "ray", "start", "--head", "--block", "--disable-usage-stats", "--num-cpus=2"),
                *(f"--port={gcs}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"),
                # The session's own Ray has the agent's usual port.
                f"--dashboard-agent-listen-port={agent}",
                *("--node-ip-address=127.0.0.1", "--object-store-memory=300000000", f"--temp-dir={folder}"),
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{dashboard}"
            deadline = time.monotonic() + 90
            while jobs(url) is None:
                assert time.monotonic() < deadline, "the head did not come up"
                assert process.poll() is None, "the head ended"
                time.sleep(0.3)
            yield Head(f"127.0.0.1:{gcs}", url, environment)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def fraud(head: Head, folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {**head.environment, "HOME": str(folder), **changes}
    return subprocess.run(
        [BIN / "fraud", *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_refused(done: subprocess.CompletedProcess[str], problem: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("fraud: ")
    assert problem in last
    assert "Traceback" not in done.stderr


def test_job_runs_on_the_cluster_and_its_result_comes_back(head: Head, tmp_path: Path) -> None:
    # Relative paths: the job runs elsewhere, so they must have become absolute.
    done = fraud(
        *(head, tmp_path, "submit", "--address", head.dashboard, "--"),
        *("simulate", "--out", "some/data", "--customers", "20", "--terminals", "30", "--days", "8"),
        *("--work", "here"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["transactions"] > 0
    assert list((tmp_path / "some" / "data").glob("*.parquet"))

    (job,) = [job for job in jobs(head.dashboard) or [] if job["type"] == "SUBMISSION"]
    assert job["metadata"]["job_name"] == "fraud simulate"
    assert job["submission_id"].startswith("fraud-simulate-20")
    assert job["status"] == "SUCCEEDED"
    assert f"--work {tmp_path}/here" in job["entrypoint"]


def test_failing_job_fails_here_with_its_own_message(head: Head, tmp_path: Path) -> None:
    done = fraud(head, tmp_path, "submit", "--", "state", "build", RAY_ADDRESS=head.dashboard)
    assert_refused(done, "failed: its log says why")
    assert "run `fraud ingest` first" in done.stderr


def test_job_without_the_token_is_refused(head: Head, tmp_path: Path) -> None:
    done = fraud(head, tmp_path, "submit", "--address", head.dashboard, "--", "config", RAY_AUTH_TOKEN="")
    assert_refused(done, "RAY_AUTH_TOKEN")


def test_job_with_another_token_is_refused(head: Head, tmp_path: Path) -> None:
    done = fraud(
        head, tmp_path, "submit", "--address", head.dashboard, "--", "config", RAY_AUTH_TOKEN="b" * 64
    )
    assert_refused(done, "refuses this token")


def test_joining_with_another_token_is_refused(head: Head, tmp_path: Path) -> None:
    started = time.monotonic()
    done = fraud(head, tmp_path, "simulate", "--out", "made", RAY_ADDRESS=head.gcs, RAY_AUTH_TOKEN="b" * 64)
    assert_refused(done, "refuses this token")
    assert time.monotonic() - started < 15


def test_joining_without_a_token_is_refused(head: Head, tmp_path: Path) -> None:
    done = fraud(head, tmp_path, "simulate", "--out", "made", RAY_ADDRESS=head.gcs, RAY_AUTH_TOKEN="")
    assert_refused(done, "wants a token")


def test_submitting_to_nobody_is_refused(head: Head, tmp_path: Path) -> None:
    done = fraud(head, tmp_path, "submit", "--address", f"http://127.0.0.1:{free_port()}", "--", "config")
    assert_refused(done, "no Ray dashboard answers")
