"""The jobs of schedules on a cluster: started once per id, asked after, stopped."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cluster.submit import absolute, entrypoint, environment, submitted
from fraud.errors import ClusterError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_STOP_S: Final = 60.0
_FINAL: Final = {"SUCCEEDED", "FAILED", "STOPPED"}


class ScheduledJobs:
    """Jobs of one cluster; the commands work on the stores that the options name."""

    def __init__(
        self, client: JobSubmissionClient, options: tuple[str, ...], working_dir: Path | None
    ) -> None:
        """Start jobs through a client, each of its commands with these options (``--config``, ...)."""
        self._client = client
        self._options = options
        self._working_dir = working_dir

    def start(self, submission_id: str, commands: tuple[str, ...]) -> None:
        """Start the commands as one job, unless the cluster has had one of this id.

        Raises:
            ConfigError: The settings are wrong.
            ClusterError: The cluster does not take the job.
        """
        whole = [absolute([*shlex.split(line), *self._options]) for line in commands]
        variables = {name: value for _, given in whole for name, value in given.items()}
        try:
            submitted(
                self._client,
                entrypoint=" && ".join(entrypoint(arguments) for arguments, _ in whole),
                submission_id=submission_id,
                metadata={"name": submission_id, "job_name": submission_id},
                runtime_env=environment(variables, self._working_dir),
            )
        except ClusterError:
            if self.status(submission_id) is None:
                raise

    def status(self, submission_id: str) -> str | None:
        """Return Ray's word for how a job stands, None where the cluster knows no such job.

        Raises:
            ClusterError: The cluster does not answer.
        """
        try:
            return str(self._client.get_job_status(submission_id))
        except (OSError, RuntimeError) as error:
            if "does not exist" in str(error):
                return None
            raise ClusterError(f"the cluster does not answer: {' '.join(str(error).split())}") from error

    def stop(self, submission_id: str) -> None:
        """Stop a job and wait until it has ended.

        Raises:
            ClusterError: It has not ended in a minute, or the cluster does not answer.
        """
        try:
            self._client.stop_job(submission_id)
        except (OSError, RuntimeError) as error:
            raise ClusterError(f"the cluster does not answer: {' '.join(str(error).split())}") from error
        deadline = time.monotonic() + _STOP_S
        while self.status(submission_id) not in {*_FINAL, None}:
            if time.monotonic() > deadline:
                raise ClusterError(f"the job {submission_id} does not stop")
            time.sleep(0.5)
