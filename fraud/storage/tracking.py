"""Runs: what was tried with which data and what came of it, kept in MLflow.

Only the driver writes runs: an embedded SQLite store takes one writer at a time. Nothing global of MLflow is
set here; every call goes through a client that names its store.
"""

from __future__ import annotations

import fcntl
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from fraud.errors import ConfigError

logger = logging.getLogger(__name__)

T = TypeVar("T")

SQLITE: Final = "sqlite:///"
_PARENT: Final = "mlflow.parentRunId"
_KEY: Final = "fraud.key"
_BUSY: Final = ("database is locked", "giving up after", "unique constraint")
_ATTEMPTS: Final = 20


def connect(tracking_uri: str) -> MlflowClient:
    """Return a client of a store, creating an SQLite file's folder where it is missing.

    Raises:
        ConfigError: The URI names no store that can be used, or an SQLite file by a relative path.
    """
    where = f"mlflow.tracking_uri = {tracking_uri}"
    file = sqlite_file(tracking_uri)
    if file is not None:
        if not file.is_absolute():
            raise ConfigError(where, "the path must be absolute: sqlite:////folder/mlflow.db")
        file.parent.mkdir(parents=True, exist_ok=True)
    elif not tracking_uri.startswith(("http://", "https://", "postgresql")):
        raise ConfigError(where, "write sqlite:////folder/mlflow.db, or the address of an MLflow server")
    try:
        with nullcontext() if file is None else _alone(file):
            return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    except (MlflowException, SQLAlchemyError) as error:
        raise ConfigError(where, f"the store cannot be used: {first_line(error)}") from error


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Let one process at a time open an SQLite store: the first one makes its tables, in many steps."""
    with file.with_name(f"{file.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def patiently(call: Callable[[], T]) -> T:
    """Change something in a store that others may be writing to, again where it was busy.

    SQLite refuses a writer at once, whatever its timeout, where waiting could never end; MLflow gives up a
    new version when others have taken the next number three times, and fails where two set a new alias.

    Raises:
        MlflowException: Anything else went wrong, or the store stayed busy.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return call()
        except MlflowException as error:
            is_busy = any(sign in str(error).lower() for sign in _BUSY)
            if not is_busy or error.error_code == "RESOURCE_ALREADY_EXISTS":
                raise
            last = error
            logger.info("the MLflow store is busy", extra={"attempt": attempt})
            time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 5)))  # noqa: S311  # so that writers part
    raise last


def sqlite_file(tracking_uri: str) -> Path | None:
    """Return the file of an embedded store, None for a server's address."""
    return Path(tracking_uri.removeprefix(SQLITE)) if tracking_uri.startswith(SQLITE) else None


class Run:
    """One run that is being written."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self.id = run_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Note what the run was asked to do; a parameter cannot change afterwards."""
        params = [Param(name, str(value)) for name, value in values.items()]
        self._write(params=params)

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Note figures that came out, at a step of the run."""
        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._write(metrics=metrics)

    def tags(self, values: Mapping[str, str]) -> None:
        """Label the run, for searching."""
        self._write(tags=[RunTag(name, value) for name, value in values.items()])

    def _write(self, **values: Any) -> None:
        patiently(lambda: self._client.log_batch(self.id, **values))

    def file(self, path: Path, folder: str | None = None) -> None:
        """Keep a file among the run's artifacts, under its own name."""
        self._client.log_artifact(self.id, str(path), folder)

    def table(self, columns: Mapping[str, list[Any]], name: str) -> None:
        """Keep a table of equally long columns among the run's artifacts; ``name`` ends in ``.json``."""
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        self._client.log_dict(self.id, {"columns": list(columns), "data": rows}, name)

    def document(self, value: Mapping[str, Any], name: str) -> None:
        """Keep a value among the run's artifacts; ``name`` ends in ``.json`` or ``.yaml``."""
        self._client.log_dict(self.id, dict(value), name)


class Tracking:
    """The runs of one experiment.

    Attributes:
        tracking_uri: ``sqlite:////absolute/file.db``, or the address of an MLflow server.
        artifact_uri: Where a new experiment's artifacts go; empty: the server decides.
        experiment: Its name.
    """

    def __init__(self, tracking_uri: str, artifact_uri: str, experiment: str) -> None:
        self.tracking_uri = tracking_uri
        self.artifact_uri = artifact_uri
        self.experiment = experiment

    @contextmanager
    def run(
        self,
        name: str,
        *,
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Iterator[Run]:
        """Open a run; it ends as finished, or as failed when the block raises.

        Args:
            name: What the dashboard shows.
            parent: Id of the run this one is a part of.
            tags: Labels for searching.
            key: Tells this run from all others; the run that a killed process opened with it is gone on with.

        Raises:
            ConfigError: The store cannot be used.
        """
        client = connect(self.tracking_uri)
        own = {_PARENT: parent, _KEY: key}
        labels = {**(tags or {}), **{tag: value for tag, value in own.items() if value is not None}}
        run = Run(client, self._opened(client, key) or self._created(client, name, labels))
        try:
            yield run
        except BaseException:
            patiently(lambda: client.set_terminated(run.id, status="FAILED"))
            raise
        patiently(lambda: client.set_terminated(run.id, status="FINISHED"))

    def children(self, parent: str) -> list[dict[str, Any]]:
        """Return id, name, status, key, params, metrics and tags of the runs under a run, oldest first."""
        client = connect(self.tracking_uri)
        found = client.search_runs(
            [self._experiment_id(client)],
            f"tags.`{_PARENT}` = '{parent}'",
            order_by=["attributes.start_time ASC"],
            max_results=50_000,
        )
        return [
            {
                "run_id": run.info.run_id,
                "name": run.info.run_name,
                "status": run.info.status,
                "key": run.data.tags.get(_KEY),
                "params": dict(run.data.params),
                "metrics": dict(run.data.metrics),
                "tags": dict(run.data.tags),
            }
            for run in found
        ]

    def _created(self, client: MlflowClient, name: str, tags: Mapping[str, str]) -> str:
        experiment = self._experiment_id(client)
        created = patiently(lambda: client.create_run(experiment, tags=dict(tags), run_name=name))
        return str(created.info.run_id)

    def _opened(self, client: MlflowClient, key: str | None) -> str | None:
        if key is None:
            return None
        found = client.search_runs([self._experiment_id(client)], f"tags.`{_KEY}` = '{key}'", max_results=1)
        if not found:
            return None
        run_id = str(found[0].info.run_id)
        patiently(lambda: client.update_run(run_id, status="RUNNING"))
        return run_id

    def _experiment_id(self, client: MlflowClient) -> str:
        try:
            found = client.get_experiment_by_name(self.experiment)
            if found is None:
                found = self._create_experiment(client)
        except MlflowException as error:
            raise ConfigError(f"mlflow.tracking_uri = {self.tracking_uri}", first_line(error)) from error
        if found.lifecycle_stage != "active":
            raise ConfigError(
                "mlflow.experiment", f"{self.experiment} was deleted: restore it, or name another"
            )
        return str(found.experiment_id)

    def _create_experiment(self, client: MlflowClient) -> Experiment:
        try:
            patiently(
                lambda: client.create_experiment(self.experiment, artifact_location=self.artifact_uri or None)
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody was faster
                raise
        return client.get_experiment_by_name(self.experiment)


def first_line(error: Exception) -> str:
    """Return what went wrong without the statement or trace that follows."""
    return str(error).partition("\n")[0]
