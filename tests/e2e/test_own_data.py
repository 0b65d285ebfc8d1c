"""The README's "Your own data", run word for word on a file that is nothing like the Handbook's."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_payments import write

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """(language, what follows it, text) of the chapter's fenced blocks."""
    chapter = README.split("## Your own data")[1].split("\n## ")[0]
    return FENCE.findall(chapter)


def shell(environment: dict[str, str], folder: Path, commands: str) -> list[dict]:
    """Run a block's commands; return what each printed as JSON."""
    printed = []
    for command in (
        commands.replace("\\\n", " ").strip().splitlines() if "curl" not in commands else [commands]
    ):
        done = subprocess.run(
            ["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr[-3000:]}"
        if done.stdout.startswith("{"):
            printed.append(json.loads(done.stdout))
    return printed


@pytest.fixture
def environment(ray_cluster: str) -> dict[str, str]:
    """A user's shell with the virtual environment first; commands join the session's Ray."""
    scripts = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "RAY_ADDRESS": ray_cluster}


@pytest.fixture
def served(environment: dict[str, str], tmp_path: Path) -> Iterator[list[str]]:
    """Starts what the test appends; stops it in the end."""
    running: list[subprocess.Popen[str]] = []
    commands: list[str] = []

    class Starter(list):
        def append(self, command: str) -> None:
            running.append(
                subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=tmp_path, env=environment, text=True)
            )

    yield Starter(commands)
    for process in running:
        # What a service manager sends; a runner may have told its children to ignore Ctrl-C.
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM


def wait_until_ready(url: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail("the endpoint did not become ready")


def test_the_chapter_runs_word_for_word(environment, served, tmp_path):
    (tmp_path / "own").mkdir()
    written = write(tmp_path / "own", rows=12_000, seed=7)
    reports: list[dict] = []
    for language, kind, text in blocks():
        if language == "yaml":
            (tmp_path / kind).write_text(text, encoding="utf-8")
        elif kind == "serve":
            served.append(text.strip())
            wait_until_ready("http://127.0.0.1:8000", 90)
        else:
            reports += shell(environment, tmp_path, text)
    draft = (tmp_path / "own" / "draft.yaml").read_text(encoding="utf-8")
    assert "# guess:" in draft
    check, payments, chargebacks, features, trained, promoted, measured, scored, state, answer = reports
    assert check["accepted"] == written.rows - written.broken
    assert payments["transactions"] == written.rows - written.broken
    assert payments["rejected_by_reason"] == {"unparsable_amount": written.broken}
    assert (chargebacks["labels"], chargebacks["rejected"]) == (written.chargebacks, 0)
    assert features["transactions"] == written.rows - written.broken - written.refunds
    assert trained["average_precision"] > 0.5
    assert (promoted["model_version"], promoted["how"]) == (trained["model_version"], "gate")
    assert measured["average_precision"]["mean"] > 0.5
    assert scored["scored"] == features["transactions"]
    assert state["transactions"] > 0
    assert answer["transaction_id"] == "new-1"
    assert answer["model"]["version"] == trained["model_version"]
