"""An S3-compatible store on loopback, for tests; its address is in the environment before Ray starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError

from mlflow_server import free_port

BUCKET = "s3://fraud-tests"


def announce() -> None:
    """Put an address and made-up credentials into the environment, which Ray's workers inherit."""
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "made-up",
    }


@contextmanager
def running() -> Iterator[str]:
    """Run the store until the block ends; inside, there is an empty bucket."""
    url = os.environ["AWS_ENDPOINT_URL"]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", url.rsplit(":", 1)[1]]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as server:
        try:
            _make_bucket(f"{url}/{BUCKET.removeprefix('s3://')}")
            yield BUCKET
        finally:
            server.terminate()


def _make_bucket(url: str, wait_s: float = 60) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="PUT")).close()
        except URLError:
            assert time.monotonic() < deadline, "the store does not start"
            time.sleep(0.2)
        else:
            return
