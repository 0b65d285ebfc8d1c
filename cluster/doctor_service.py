"""Is the scoring service of the work directory fit to answer?"""

from __future__ import annotations

import os
import socket
import stat
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from cluster import wiring
from cluster.settings import Settings
from fraud.errors import ClusterError
from fraud.jobs.ship_lag import lag
from fraud.storage.disk import free_bytes
from fraud.storage.state import OnlineState
from serve_app import keys, served
from serve_app.settings import ServeSettings

_MIB: Final = 1024**2
_SYNCS: Final = 20
_SLOW_SYNC_S: Final = 0.02
_BEHIND: Final = timedelta(minutes=15)


def checks(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the checks: each returns what is so, or raises what to do."""
    work = wiring.work(settings)
    yield "service address", lambda: _address(settings.serve)
    yield "service port", lambda: _port(settings.serve.host, settings.serve.port)
    yield "API keys", lambda: _keys(settings.serve)
    yield "journal disk", lambda: _sync(_present(work.journal))
    yield "disk reserve", lambda: _reserve(_present(work.journal), settings.serve.disk_reserve_bytes)
    yield "served model", lambda: _model(settings, work.pointer)
    yield "online state", lambda: _state(work.state, work.pointer)
    yield "journals", lambda: _journals(settings, work.journal)


def _address(settings: ServeSettings) -> str:
    keys.check_exposure(settings)
    return (
        f"the endpoint listens on {settings.host}:{settings.port}; whatever that says, 8404, 9101, 44217, "
        "44227 and Ray's metrics port are on all interfaces: close them by firewall"
    )


def _port(host: str, port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if _answers(host, port):
                return f"the service answers at {host}:{port}"
            raise ClusterError(f"{host}:{port} is in use; stop what holds it, or set serve.port") from error
    return f"{host}:{port} is free"


def _answers(host: str, port: int) -> bool:
    connection = HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().read() == b'{"status":"ok"}'
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _keys(settings: ServeSettings) -> str:
    if not settings.keys_file:
        return "none: whoever reaches the endpoint may call it, from this machine only"
    file = Path(settings.keys_file)
    found = keys.read(file)
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise ClusterError(f"others can read the hashes of the API keys: run `chmod 600 {file}`")
    now = datetime.now(UTC)
    active = [key for key in found if key.expires is None or key.expires > now]
    if not active:
        raise ClusterError(f"{file} has no key that is still good: make one with `fraud key new`")
    soon = sorted(key.id for key in active if key.expires and key.expires < now + timedelta(days=14))
    return f"{len(active)} of {len(found)} are good" + (
        f"; {', '.join(soon)} end within 14 days: make others" if soon else ""
    )


def _sync(folder: Path) -> str:
    """Time what every answer waits for."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            file.write(bytes(2048))
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    median = statistics.median(times)
    text = f"{median * 1000:.2f} ms to put an answer on disk (median of {_SYNCS})"
    if median > _SLOW_SYNC_S:
        raise ClusterError(f"{text}: no answer is quicker; put the work directory on a faster disk")
    return text


def _reserve(folder: Path, reserve: int) -> str:
    free = free_bytes(folder)
    text = f"{free // _MIB} MiB free; below {reserve // _MIB} MiB nothing is written and requests get 503"
    if free < 2 * reserve:
        raise ClusterError(f"{text}: make room, or lower serve.disk_reserve_bytes")
    return text


def _model(settings: Settings, pointer: Path) -> str:
    if not pointer.exists():
        return "none yet; `fraud serve` puts one in place"
    names = served.read_pointer(pointer)
    served.load(pointer.parent, names)
    ref = wiring.registry(settings).resolve(served.CHAMPION)
    if ref.digest != names.digest:
        raise ClusterError(
            f"version {names.version} is in place and the registry's champion is {ref.version}: see whether "
            "`fraud serve` runs, and what the lake's table alerts says of that version"
        )
    return f"version {names.version}, digest {names.digest[:16]}, as in the registry"


def _state(path: Path, pointer: Path) -> str:
    if not path.is_dir():
        return "none yet; `fraud serve` builds it"
    state = OnlineState.open(path)
    try:
        if pointer.exists():
            state.check(served.load(pointer.parent, served.read_pointer(pointer)).bundle.feature_set)
        as_of = state.known_as_of()
    finally:
        state.close()
    if as_of > datetime.now(UTC) + timedelta(days=1):
        raise ClusterError(f"it is as of {as_of:%Y-%m-%d %H:%M} UTC, which is to come: see to the clock")
    return f"as of {as_of:%Y-%m-%d %H:%M} UTC"


def _journals(settings: Settings, folder: Path) -> str:
    behind = lag(wiring.lake(settings), folder)
    if behind.since is None:
        return "all in the lake"
    text = f"{behind.bytes / _MIB:.2f} MiB since {behind.since:%F %R} UTC are not in the lake yet"
    if datetime.now(UTC) - behind.since > _BEHIND:
        raise ClusterError(f"{text}: run `fraud ship`, and see why `fraud serve` does not")
    return text


def _present(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
