"""An MLflow server on loopback with a store of its own, as a team would run one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def process(arguments: list[str], url: str, log: Path, *, cwd: Path, wait_s: float = 90) -> Iterator[None]:
    """Run ``mlflow ARGUMENTS`` until the block ends; inside, the URL answers."""
    command = [sys.executable, "-m", "mlflow", *arguments]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it starts uvicorn by name
    environment = {**os.environ, "PATH": path, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("w") as output:
        started = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            deadline = time.monotonic() + wait_s
            while not _answers(url):
                assert started.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.2)
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGTERM)
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


@contextmanager
def server(folder: Path, *, workers: int = 1, port: int = 0) -> Iterator[str]:
    """Yield the address of a server that keeps everything in a folder, at a free port unless one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port or free_port()}"
    arguments = [
        "server",
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
        *("--host", "127.0.0.1", "--port", url.rpartition(":")[2], "--workers", str(workers)),
    ]
    with process(arguments, f"{url}/health", folder / "server.log", cwd=folder):
        yield url
