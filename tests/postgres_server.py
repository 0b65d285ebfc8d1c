"""A PostgreSQL of the tests' own, from the system's package, on a free loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PASSWORD = "s3cret-of-tests"


@dataclass(frozen=True)
class PostgresServer:
    """A running server, or one that was stopped and may be started again."""

    programs: Path
    folder: Path
    port: int

    def uri(self, database: str = "postgres", *, user: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "-w", "-D", "data", "-l", "server.log", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-w", "-D", "data", "-m", mode, "stop")

    def _run(self, program: str, *arguments: str) -> None:
        # PostgreSQL refuses to run as root.
        user = "postgres" if os.geteuid() == 0 else None
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, cwd=self.folder, user=user, check=True, stdout=subprocess.DEVNULL)

    def initialise(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        self._run("initdb", "-D", "data", "-U", "postgres", "-A", "scram-sha-256", "--pwfile", "password")


def programs() -> Path | None:
    """The folder of the newest installed server's programs, or None where none can be run."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    if os.geteuid() == 0 and not any(entry.pw_name == "postgres" for entry in pwd.getpwall()):
        return None
    return found[-1].parent if found else None


needed = pytest.mark.skipif(programs() is None, reason="no PostgreSQL server is installed here")


@contextmanager
def running() -> Iterator[PostgresServer]:
    """Start a server in a folder of its own; stop it and delete the folder at the end."""
    found = programs()
    assert found is not None
    folder = Path(tempfile.mkdtemp(prefix="fraud-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = PostgresServer(found, folder, port)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.stop("immediate")
        shutil.rmtree(folder)
