"""Is this place fit to run on? What a person would check by hand, checked."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cluster import auth, head
from cluster.settings import Settings
from fraud.errors import ClusterError, FraudError

_LIBRARIES = ("ray", "xgboost", "mlflow", "deltalake", "pyarrow", "lmdb", "optuna", "fastapi")
_GIB = 1024**3


def run(settings: Settings) -> dict[str, Any]:
    """Check this machine and the settings' places.

    Returns:
        ``ok``, and ``checks``: each with ``name``, ``ok`` and ``detail``, which says what to do.
    """
    checks = [{"name": name, "ok": ok, "detail": detail} for name, ok, detail in _checks(settings)]
    return {"ok": all(check["ok"] for check in checks), "checks": checks}


def _checks(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    yield "python", sys.version_info >= (3, 11), ".".join(str(part) for part in sys.version_info[:3])
    yield "libraries", *_libraries()
    yield "memory", *_memory(settings)
    yield "work directory", *_work(Path(settings.work.dir))
    yield "ray token", *_said(_token_file)
    address = settings.ray.address or os.environ.get("RAY_ADDRESS", "")
    if address and "://" not in address:
        yield "ray", *_said(lambda: _head(settings, address))
    yield "service port", *_port(settings.serve.host, settings.serve.port)


def _said(check: Callable[[], str]) -> tuple[bool, str]:
    try:
        return True, check()
    except FraudError as error:
        return False, str(error)


def _libraries() -> tuple[bool, str]:
    found, missing = [], []
    for library in _LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            missing.append(library)
    return not missing, f"missing: {', '.join(missing)}; run `make install`" if missing else ", ".join(found)


def _memory(settings: Settings) -> tuple[bool, str]:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = settings.ray.object_store_memory_bytes
    text = f"{free / _GIB:.1f} GiB free, {os.cpu_count()} CPUs"
    return free > needed, text if free > needed else f"{text}; lower ray.object_store_memory_bytes = {needed}"


def _work(folder: Path) -> tuple[bool, str]:
    # The directory is made when it is first written to: until then its nearest parent decides.
    present = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(present).free / _GIB
    if not present.is_dir() or not os.access(present, os.W_OK):
        return False, f"{folder} cannot be written; give another --work"
    return free > 1, f"{folder}, {free:.1f} GiB free" + (
        "" if free > 1 else "; make room, or give another --work"
    )


def _token_file() -> str:
    token = auth.switch_on(create=False)
    file = auth.default_file()
    if token is None or not file.exists():
        return "none; the first local Ray makes one" if token is None else "from the environment"
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise ClusterError(f"others can read the Ray token: run `chmod 600 {file}`")
    return str(file)


def _head(settings: Settings, address: str) -> str:
    head.check(address, auth.switch_on(create=False), settings.ray.connect_timeout_s)
    return f"{address} answers"


def _port(host: str, port: int) -> tuple[bool, str]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False, f"{host}:{port} is in use; stop what holds it, or set serve.port"
    return True, f"{host}:{port} is free"
