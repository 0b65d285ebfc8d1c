"""Is this place fit to run on? What a person would check by hand, checked."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cluster import auth, doctor_service, head
from cluster.settings import Settings
from fraud.errors import ClusterError, FraudError

_LIBRARIES = ("ray", "xgboost", "mlflow", "deltalake", "pyarrow", "lmdb", "optuna", "fastapi")
_GIB = 1024**3

Check = Callable[[], str]
"""Returns what is so, or raises a FraudError that says what to do."""


def run(settings: Settings) -> dict[str, Any]:
    """Check this machine, the settings' places, and the service of the work directory.

    Returns:
        ``ok``, and ``checks``: each with ``name``, ``ok`` and ``detail``, which says what to do.
    """
    checks = [{"name": name, **_outcome(check)} for name, check in _checks(settings)]
    return {"ok": all(check["ok"] for check in checks), "checks": checks}


def _checks(settings: Settings) -> Iterator[tuple[str, Check]]:
    work = Path(settings.work.dir)
    yield "python", _python
    yield "libraries", _libraries
    yield "memory", lambda: _memory(settings.ray.object_store_memory_bytes)
    yield "work directory", lambda: _work(work)
    yield "clock", lambda: _clock(work)
    yield "ray token", _token_file
    yield "ray auth mode", _auth_mode
    address = settings.ray.address or os.environ.get("RAY_ADDRESS", "")
    if address and "://" not in address:
        yield "ray", lambda: _head(settings, address)
    yield from doctor_service.checks(settings)


def _outcome(check: Check) -> dict[str, Any]:
    try:
        return {"ok": True, "detail": check()}
    except (FraudError, OSError) as error:
        return {"ok": False, "detail": str(error)}


def _python() -> str:
    return ".".join(str(part) for part in sys.version_info[:3])


def _libraries() -> str:
    found, missing = [], []
    for library in _LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            missing.append(library)
    if missing:
        raise ClusterError(f"missing: {', '.join(missing)}; run `make install`")
    return ", ".join(found)


def _memory(needed: int) -> str:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    text = f"{free / _GIB:.1f} GiB free, {os.cpu_count()} CPUs"
    if free <= needed:
        raise ClusterError(f"{text}; lower ray.object_store_memory_bytes = {needed}")
    return text


def _work(folder: Path) -> str:
    # The directory is made when it is first written to: until then its nearest parent decides.
    present = next(path for path in (folder, *folder.parents) if path.exists())
    if not present.is_dir() or not os.access(present, os.W_OK):
        raise ClusterError(f"{folder} cannot be written; give another --work")
    free = shutil.disk_usage(present).free / _GIB
    if free <= 1:
        raise ClusterError(f"{folder}, {free:.1f} GiB free; make room, or give another --work")
    return f"{folder}, {free:.1f} GiB free"


def _clock(folder: Path) -> str:
    """A clock that was set back is behind what was written before."""
    now, newest = time.time(), max((file.stat().st_mtime for file in folder.glob("*")), default=0.0)
    text = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(now))} UTC"
    if newest > now + 1:
        raise ClusterError(
            f"{text}, and {folder} was written {newest - now:.0f} s after that: set the clock, and keep it "
            "right with chrony or systemd-timesyncd"
        )
    return text


def _token_file() -> str:
    token = auth.switch_on(create=False)
    file = auth.default_file()
    if token is None or not file.exists():
        return "none; the first local Ray makes one" if token is None else "from the environment"
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise ClusterError(f"others can read the Ray token: run `chmod 600 {file}`")
    return str(file)


def _auth_mode() -> str:
    """What Ray makes of the environment as the commands of this project leave it."""
    auth.switch_on(create=False)
    mode = os.environ.get(auth.MODE)
    if mode == "disabled":
        raise ClusterError(f"{auth.MODE}=disabled: whoever reaches Ray's ports runs code here; unset it")
    return mode or "token, once there is one; `ray start --head` before that starts an open cluster"


def _head(settings: Settings, address: str) -> str:
    head.check(address, auth.switch_on(create=False), settings.ray.connect_timeout_s)
    return f"{address} answers"
