"""Fixtures shared by all tests: an empty lake, and one Ray for the whole run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import postgres_server
import pytest
import s3_server
from adbc_driver_postgresql import dbapi
from hypothesis import settings
from postgres_server import PostgresServer

from cluster.runtime import prepare
from fraud.storage.lake import Lake

# Ray, Serve and Train read their environment when they are imported, and hand it on.
s3_server.announce()
prepare(local=True)

# The first example compiles what it calls, and machines are busy.
settings.register_profile("undisturbed", deadline=None)
settings.load_profile("undisturbed")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake in the test's own folder."""
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """The address of one local Ray with two CPUs, started when the first test asks for it."""
    import ray

    context = ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=600_000_000,
        include_dashboard=False,
        log_to_driver=False,
    )
    yield str(context.address_info["gcs_address"])
    ray.shutdown()


@pytest.fixture(scope="session")
def database_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of this session."""
    with postgres_server.running() as server:
        yield server


@pytest.fixture
def postgres_uri(database_server: PostgresServer) -> str:
    """An empty database of the test's own."""
    name = f"own_{uuid4().hex[:8]}"
    with dbapi.connect(database_server.uri(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"create database {name}")
    return database_server.uri(name)


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """The URI of a bucket in an S3-compatible store of this machine."""
    with s3_server.running() as bucket:
        yield bucket
