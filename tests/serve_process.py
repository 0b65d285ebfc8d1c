"""The service in a process of its own, with a Ray of its own, told what to do line by line.

``running`` starts it and yields a ``Service``. The process reads a command a line from standard input, JSON,
and answers each with a line of JSON; when its input ends it takes everything down.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from ray.serve import Application

    from serve_app.settings import ServeSettings

TESTS = Path(__file__).parent
REPLICA = "ray::ServeReplica:fraud:fraud"


@dataclass(frozen=True)
class Shape:
    """How the service is to run.

    Attributes:
        folder: With ``pointer.json``, ``state`` and ``journal``, as ``factories_serve`` makes them.
        settings: Of the section ``serve``.
        hold_ms: What a booster is held up for each time it scores, as a slow one would be.
        plain: With Ray Serve's own defaults instead of ours.
        registry: Where MLflow is, for a steward that follows the champion; without one, nobody does.
    """

    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    hold_ms: float = 0.0
    plain: bool = False
    registry: str = ""


class Service:
    """A running one."""

    def __init__(
        self, process: subprocess.Popen[str], url: str = "", ray_logs: str = "", metrics_url: str = ""
    ) -> None:
        self._process = process
        self.url = url
        self.ray_logs = Path(ray_logs)
        self.metrics_url = metrics_url

    @property
    def pid(self) -> int:
        """Of the process that started Ray and all of its processes."""
        return self._process.pid

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have the process do something and return what it says."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return self.told()

    def told(self) -> dict[str, Any]:
        """The next line it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the service's process has ended: see its log"
        said: dict[str, Any] = json.loads(line)
        return said

    def replicas(self) -> list[int]:
        """The pids of the replicas, those that are starting or stopping among them."""
        return sorted(
            pid for pid in descendants(self.pid) if command(pid).startswith(REPLICA) and state(pid) != "Z"
        )

    def ready(self) -> int:
        """How many replicas Serve calls running."""
        return int(self.ask("status")["running"])

    def await_ready(self, count: int, *, within_s: float) -> float:
        """Wait until so many replicas run, and no others; return how long it took.

        Serve may not know yet of one that died, so their processes are counted too.
        """
        began = time.monotonic()
        wanted = {"running": count, "others": 0}
        while len(pids := self.replicas()) != count or self.ask("status") != wanted:
            assert time.monotonic() < began + within_s, pids
            time.sleep(0.1)
        return time.monotonic() - began


@contextmanager
def running(shape: Shape, log: Path) -> Iterator[Service]:
    """Run the service while inside.

    Args:
        shape: How.
        log: Gets what the process writes to standard error.
    """
    path = os.pathsep.join(str(folder) for folder in (TESTS.parent, TESTS))
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(asdict(shape), default=str)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        try:
            yield Service(process, **Service(process).told())
        finally:
            started = descendants(process.pid)
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            for pid in [process.pid, *started]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and theirs."""
    children: dict[int, list[int]] = {}
    for found in _pids():
        children.setdefault(_parent(found), []).append(found)
    waiting, seen = [pid], []
    while waiting:
        waiting += (own := children.get(waiting.pop(), []))
        seen += own
    return seen


def state(pid: int) -> str:
    """The letter the kernel gives a process's state, Z where there is none."""
    return _stat(pid)[0]


def command(pid: int) -> str:
    """What a process was started as, or calls itself; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def memory_bytes(pid: int) -> int:
    """The memory of a process that is not backed by files."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["Z", "0"]


# What follows runs in the process itself.


def main() -> None:
    shape = json.loads(sys.argv[1])
    lines, sys.stdout = sys.stdout, sys.stderr  # only answers are written to the output
    _prepare(plain=shape["plain"])
    import ray

    context = ray.init(
        address="local",
        num_cpus=4,
        object_store_memory=200_000_000,
        include_dashboard=False,
        log_to_driver=False,
    )
    try:
        url = _deploy(shape)
        logs = Path(context.address_info["session_dir"]) / "logs"
        (node,) = ray.nodes()
        metrics_url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        _say(lines, {"url": url, "ray_logs": str(logs), "metrics_url": metrics_url})
        for line in sys.stdin:
            _say(lines, _do(shape, json.loads(line)))
    finally:
        from serve_app import run

        run.stop()
        ray.shutdown()


def _say(lines: TextIO, said: Mapping[str, Any]) -> None:
    lines.write(json.dumps(said) + "\n")
    lines.flush()


def _prepare(*, plain: bool) -> None:
    from cluster.runtime import prepare

    prepare(local=True)
    if plain:
        for variable in [name for name in os.environ if name.startswith("RAY_SERVE_")]:
            del os.environ[variable]


def _do(shape: dict[str, Any], command: dict[str, Any]) -> dict[str, Any]:
    if command["do"] == "deploy":
        shape["settings"] = {**shape["settings"], **command.get("settings", {})}
        return {"url": _deploy(shape)}
    from ray import serve

    deployment = serve.status().applications["fraud"].deployments["fraud"]
    states = {str(getattr(name, "value", name)): count for name, count in deployment.replica_states.items()}
    running = states.pop("RUNNING", 0)
    return {"running": running, "others": sum(states.values())}


def _deploy(shape: Mapping[str, Any]) -> str:
    from factories_serve import CATALOGUE, MONEY

    from serve_app import app, run
    from serve_app.settings import ServeSettings

    folder = Path(shape["folder"])
    settings = ServeSettings.model_validate(shape["settings"])
    if shape["hold_ms"]:
        _hold(shape["hold_ms"] / 1000)
    if shape["plain"]:
        app.deployment_options = lambda _: {"name": "fraud"}
    application = app.build(
        settings,
        pointer=folder / "pointer.json",
        state=folder / "state",
        journal=folder / "journal",
        money=MONEY,
        catalogue=CATALOGUE,
        steward=_steward(shape, settings),
    )
    if not shape["plain"]:
        return run.start(application, settings)
    from ray import serve

    serve.start(http_options={"host": settings.host, "port": settings.port})
    serve.run(application, name="fraud", route_prefix="/")
    return f"http://{settings.host}:{settings.port}"


def _steward(shape: Mapping[str, Any], settings: ServeSettings) -> Application | None:
    if not shape["registry"]:
        return None
    from fraud.storage.lake import Lake
    from serve_app import steward
    from serve_app.places import Places

    folder = Path(shape["folder"])
    places = Places(folder / "pointer.json", folder / "state", folder / "journal")
    lake = Lake(str(folder / "lake"))
    return steward.bind(steward.Charge(lake, shape["registry"], "fraud", "champion", places), settings)


def _hold(seconds: float) -> None:
    """Have the replicas that are deployed from now on wait each time they score."""
    import ray

    from serve_app import app

    whole = app.Endpoint

    class Held(whole):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any) -> None:
            from fraud.model.bundle import Bundle

            scores = Bundle.scores

            def held(bundle: Bundle, rows: Any) -> Any:
                time.sleep(seconds)
                return scores(bundle, rows)

            Bundle.scores = held  # type: ignore[method-assign]
            super().__init__(*arguments)

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    app.Endpoint = Held  # type: ignore[misc]


if __name__ == "__main__":
    main()
