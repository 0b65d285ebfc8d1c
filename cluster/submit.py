"""A command of this program as a Ray job on a cluster: sent, followed, and its result brought back."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from cluster.runtime import ADDRESS_VARIABLE, prepare
from cluster.settings import Settings, load
from cluster.source import PREFIX, from_environment
from fraud.errors import ClusterError, ConfigError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
_EXCLUDES = [".git", ".venv", "**/__pycache__", "fraud-work", "demo-work", ".mypy_cache", ".ruff_cache"]
_GROUPS = {"mapping", "mart", "policy", "schedule", "state"}
"""Commands of two words."""

_AGENT_WAIT_S = 60.0

_FINAL = {"SUCCEEDED", "FAILED", "STOPPED"}

logger = logging.getLogger(__name__)


def run(
    command: Sequence[str],
    *,
    address: str,
    working_dir: Path | None,
    now: datetime,
    follow: Callable[[str], None],
) -> dict[str, Any]:
    """Run ``fraud COMMAND...`` on a cluster and wait for it.

    Args:
        command: What would follow ``fraud`` here, for example ``["train", "--workers", "8"]``.
        address: The dashboard's http address. Empty: RAY_ADDRESS, else this machine's.
        working_dir: A folder to upload and run in; None where the cluster's nodes have the program installed.
        now: Becomes part of the job's id.
        follow: Called with each line the job logs.

    Returns:
        The job's result.

    Raises:
        ConfigError: The command's settings are wrong, found before anything is sent.
        ClusterError: The cluster cannot be reached, refuses the token, or the job failed.
    """
    arguments, variables = absolute(command)
    name = " ".join(arguments[: 2 if arguments[0] in _GROUPS else 1])
    client = connected(address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS)
    job = submitted(
        client,
        entrypoint=entrypoint(arguments),
        submission_id=f"fraud-{name.replace(' ', '-')}-{now:%Y%m%dT%H%M%S%fZ}",
        metadata={"name": f"fraud {name}", "job_name": f"fraud {name}"},
        runtime_env=environment(variables, working_dir),
    )
    logger.info("submitted", extra={"job": job})
    _follow(client, job, follow)
    return _result(client, job)


def entrypoint(arguments: Sequence[str]) -> str:
    """The shell command that runs a command of this program."""
    return shlex.join(["python", "-m", "cluster", *arguments])


def environment(variables: Mapping[str, str], working_dir: Path | None) -> dict[str, Any]:
    """The runtime environment of a job: variables, and the folder it runs in, if one is sent along."""
    if working_dir is None:
        return {"env_vars": dict(variables)}
    folder = {"working_dir": str(working_dir.resolve()), "excludes": _EXCLUDES}
    return {"env_vars": dict(variables), **folder}


def submitted(client: JobSubmissionClient, **job: Any) -> str:
    """Submit, and wait for a head that has only just started: its dashboard answers before its job agent.

    Raises:
        ClusterError: The cluster does not take the job.
    """
    deadline = time.monotonic() + _AGENT_WAIT_S
    while True:
        try:
            return str(client.submit_job(**job))
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                problem = " ".join(str(error).split())
                raise ClusterError(f"the cluster does not take the job: {problem}") from error
            time.sleep(1)


def absolute(command: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
    """The command with every path absolute and its stores spelled out, and the variables to send along.

    What is secret among the ``FRAUD_`` variables stays here: a job's environment is shown in the dashboard.
    """
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument("--config", action="append", type=Path, default=[])
    options.add_argument("--work", default="")
    options.add_argument("--lake", default="")
    given, rest = options.parse_known_args(list(command))
    if not rest or rest[0].startswith("-"):
        raise ConfigError("submit", "names no command; write `fraud submit -- COMMAND...`")
    settings = load(*given.config, options={"work.dir": given.work, "lake.uri": given.lake})
    configs = [part for file in given.config for part in ("--config", str(file.resolve()))]
    stores = ["--work", settings.work.dir, "--lake", settings.lake.uri]
    return [*(_absolute_word(word) for word in rest), *configs, *stores], _variables(settings)


def _absolute_word(word: str) -> str:
    """Paths with a folder in them, or with a suffix where there is such a file, become absolute."""
    option, separator, value = word.partition("=") if word.startswith("--") else ("", "", word)
    is_path = "/" in value or ("." in value and Path(value).is_file())
    if not is_path or value.startswith(("-", "/")) or ":" in value:
        return word
    return f"{option}{separator}{os.path.normpath(Path.cwd() / Path(value).expanduser())}"


def _variables(settings: Settings) -> dict[str, str]:
    tree = from_environment(os.environ).tree
    names = [(section, name) for section, values in tree.items() for name in values]
    shown = [
        PREFIX + f"{section}__{name}".upper()
        for section, name in names
        if not isinstance(getattr(getattr(settings, section), name), SecretStr)
    ]
    return {variable: value for variable, value in os.environ.items() if variable.upper() in shown}


def connected(address: str) -> JobSubmissionClient:
    """A client of the dashboard at an address.

    Raises:
        ConfigError: It is no dashboard's address.
        ClusterError: Nothing answers there, or it refuses the token.
    """
    url = urlsplit(address)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ConfigError(
            "ray.address", f"submit needs the dashboard's address, such as {DEFAULT_ADDRESS}, not {address}"
        )
    prepare(local=False)
    # The client would rather take RAY_ADDRESS than what it is given; this variable comes before both.
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    import requests
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        requests.get(f"{address.rstrip('/')}/api/authentication_mode", timeout=10).close()
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise ClusterError(
            f"the Ray at {address} refuses this token: set RAY_AUTH_TOKEN, "
            "or write the cluster's token into ~/.ray/auth_token"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"no Ray dashboard answers at {address}: start Ray there, or correct ray.address"
        ) from error


def _follow(client: JobSubmissionClient, job: str, follow: Callable[[str], None]) -> None:
    """Hand on the log line by line, leaving out the result, until the job ends."""

    async def tail() -> None:
        rest = ""
        async for text in client.tail_job_logs(job):
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                if _json_object(line) is None:
                    follow(line)
        if rest and _json_object(rest) is None:
            follow(rest)

    try:
        asyncio.run(tail())
    except (OSError, RuntimeError) as error:
        raise ClusterError(
            f"lost sight of the job {job}, which may still run: look into the dashboard"
        ) from error


def _result(client: JobSubmissionClient, job: str) -> dict[str, Any]:
    details = client.get_job_info(job)
    while details.status not in _FINAL:  # the log ends a moment before the status changes
        time.sleep(0.2)
        details = client.get_job_info(job)
    if details.status != "SUCCEEDED":
        raise ClusterError(f"the job {job} {str(details.status).lower()}: its log says why")
    objects = [
        found for line in client.get_job_logs(job).splitlines() if (found := _json_object(line)) is not None
    ]
    return objects[-1] if objects else {"job": job}


def _json_object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
