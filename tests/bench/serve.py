"""The scoring service against a bare worker and against Ray Serve's defaults, in one run.

The bare peer is FastAPI in one uvicorn worker that parses the same body, calls the same booster and does
nothing else. Ours is one replica with everything: keys, state, journal, 300 trees. Capacity is the best of a
few closed loops, ours and the peer's by turns; latencies are those of open loops at rates that follow from
our capacity, and count from the intended start. The last part holds every call of the booster for 5 ms and
offers three times what that lets through.

    make bench-serve
    make bench-serve OPTIONS="--quick"
    make bench-serve OPTIONS="--only capacity --only batch"
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson
from load import Plan
from support.generator import Generator
from support.served_model import APPROVE_ALL, REVIEW_ALL, point, prepare
from support.tally import Report, percentiles

from fraud.features.spec import load as feature_set
from serve_app import keys

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))
from serve_process import Service, Shape, memory_bytes, running  # noqa: E402 - of the folder above

HOLD_MS = 5.0
PARTS = ("capacity", "latency", "batch", "explanations", "defaults", "overload")


@dataclass(frozen=True)
class Length:
    """How long things are measured, in seconds."""

    warm_up: float
    closed: float
    open: float
    overload: float
    rounds: int


LONG, QUICK = Length(3, 4, 10, 60, 3), Length(1.5, 2, 4, 10, 1)
CONCURRENCIES = (8, 16, 32)


@dataclass(frozen=True)
class Bar:
    """What was to be reached, and what was seen."""

    what: str
    wanted: str
    seen: float | None
    met: bool | None

    @classmethod
    def least(cls, what: str, wanted: float, seen: float | None) -> Bar:
        """A bar from below."""
        return cls(what, f">= {wanted:g}", seen, None if seen is None else seen >= wanted)

    @classmethod
    def most(cls, what: str, wanted: float, seen: float | None) -> Bar:
        """A bar from above."""
        return cls(what, f"<= {wanted:g}", seen, None if seen is None else seen <= wanted)


class Bench:
    """One run."""

    def __init__(self, folder: Path, length: Length, features: str) -> None:
        self._folder, self._length = folder, length
        self._features = feature_set(features, CHECKOUT / "configs" / "features")
        self._seed = 0
        self._keys_file = folder / "keys"
        self._key, _ = keys.create(self._keys_file, "bench", ["score"], now=datetime.now(UTC))
        self.found: dict[str, Any] = {"features": len(self._features.names)}
        self.bars: list[Bar] = []

    def run(self, parts: Sequence[str]) -> None:
        places = prepare(self._folder / "ours", self._features)
        with bare(places / "bundle", self._folder) as peer:
            with self._serving(Shape(places, self._settings())) as service:
                self._compare(service, peer, parts)
                self._more(service, places, parts)
            if "defaults" in parts:
                self._defaults(prepare(self._folder / "defaults", self._features))
        if "overload" in parts:
            self._overload(prepare(self._folder / "overload", self._features))

    def _settings(self) -> dict[str, Any]:
        return {
            "port": free_port(),
            "min_replicas": 1,
            "max_replicas": 1,
            "keys_file": str(self._keys_file),
        }

    @contextmanager
    def _serving(self, shape: Shape) -> Iterator[Service]:
        with running(shape, self._folder / "service.log") as service:
            self._load(service.url, seconds=self._length.warm_up, concurrency=8)
            yield service

    def _load(self, url: str, **plan: Any) -> Report:
        return self._generator(url, **plan).report()

    def _generator(self, url: str, **plan: Any) -> Generator:
        self._seed += 1
        return Generator(Plan(url, seed=self._seed, api_key=self._key, **plan), self._folder)

    def _best(self, url: str, concurrencies: Sequence[int], **plan: Any) -> tuple[float, int]:
        """The most requests per second, and with how many under way."""
        loads = [
            (self._load(url, seconds=self._length.closed, concurrency=c, **plan), c) for c in concurrencies
        ]
        return max((report.requests_per_s, c) for report, c in loads)

    def _compare(self, service: Service, peer: str, parts: Sequence[str]) -> None:
        self._load(peer, seconds=self._length.warm_up, concurrency=8)
        (_, ours_at), (_, peer_at) = (self._best(url, CONCURRENCIES) for url in (service.url, peer))
        pairs = []
        for _ in range(self._length.rounds):
            ours, _ = self._best(service.url, [ours_at])
            bare_one, _ = self._best(peer, [peer_at])
            pairs.append((ours, bare_one))
        ratio = median(ours / bare_one for ours, bare_one in pairs)
        self.capacity = median(ours for ours, _ in pairs)
        self.found["capacity"] = {
            "ours_per_s": [ours for ours, _ in pairs],
            "bare_per_s": [bare_one for _, bare_one in pairs],
            "concurrency": {"ours": ours_at, "bare": peer_at},
            "ratio": round(ratio, 3),
        }
        self.bars.append(Bar.least("requests/s, ours / bare (goal 0.7)", 0.55, round(ratio, 3)))
        if "latency" in parts:
            self._latency(service.url, peer)

    def _latency(self, url: str, peer: str) -> None:
        seen: dict[str, Any] = {}
        for share in (0.5, 0.8):
            rate = round(share * self.capacity)
            both = {
                name: self._load(at, seconds=self._length.open, rate=rate)
                for name, at in (("ours", url), ("bare", peer))
            }
            seen[f"{share:.0%}"] = {
                "rate": rate,
                **{name: told(report) for name, report in both.items()},
            }
        self.found["latency"] = seen
        ours, bare_one = (
            seen["50%"][name]["latency_ms"].get("200", {}).get("p99") for name in ("ours", "bare")
        )
        self.bars.append(Bar.most("p99 at 50 % of capacity, ms", 20, ours))
        times = None if not (ours and bare_one) else round(ours / bare_one, 2)
        self.bars.append(Bar.most("p99 at 50 %, ours / bare at the same rate", 2, times))

    def _more(self, service: Service, places: Path, parts: Sequence[str]) -> None:
        if "batch" in parts:
            best, at = self._best(service.url, (1, 2, 4), path="/v1/score/batch", batch=100)
            self.found["batch"] = {"transactions_per_s": 100 * best, "concurrency": at}
            self.bars.append(Bar.least("transactions/s in batches of 100", 10_000, 100 * best or None))
        if "explanations" in parts:
            self._explanations(service.url, places)

    def _explanations(self, url: str, places: Path) -> None:
        pairs = []
        for _ in range(self._length.rounds):
            plain, _ = self._best(url, [16])
            with served(places, url, REVIEW_ALL):
                explained, _ = self._best(url, [16])
            pairs.append((plain, explained))
        cost = round(median(plain / explained for plain, explained in pairs), 2)
        self.found["explanations"] = {
            "plain_per_s": [p for p, _ in pairs],
            "explained_per_s": [e for _, e in pairs],
            "cost": cost,
        }
        self.bars.append(Bar.most("cost of reasons on every answer, times", 2, cost))

    def _defaults(self, places: Path) -> None:
        with self._serving(Shape(places, self._settings(), plain=True)) as service:
            best, at = self._best(service.url, (4, 16))
        ratio = round(self.capacity / best, 2)
        self.found["defaults"] = {"per_s": best, "concurrency": at, "ratio": ratio}
        self.bars.append(Bar.least("requests/s, ours / Ray Serve's defaults", 3, ratio))

    def _overload(self, places: Path) -> None:
        with self._serving(Shape(places, self._settings(), hold_ms=HOLD_MS)) as service:
            capacity, _ = self._best(service.url, (4, 8))
            (replica,) = service.replicas()
            before = memory_bytes(replica)
            seen = self._overloaded(service.url, capacity)
            grown = round(memory_bytes(replica) / before - 1, 3)
        self.found["overload"] = {"capacity_per_s": capacity, "memory_growth": grown, **seen}
        self.bars += [
            Bar.least("3x overload: goodput / capacity", 0.9, seen["goodput_share"]),
            Bar.most("3x overload: p99 of refusals, ms", 100, seen["refused_ms"].get("p99")),
            Bar.most("3x overload: seconds to recover", 10, seen["recovered_s"]),
            Bar.most("3x overload: growth of the replica's memory", 0.2, grown),
            Bar.most("3x overload: the generators' share of a CPU", 0.2, seen["generator_cpu_share"]),
        ]

    def _overloaded(self, url: str, capacity: float) -> dict[str, Any]:
        """Half the capacity all along, and 2.5 times more of it in the middle."""
        calm, after = self._length.open / 2, 15.0
        base = self._generator(url, seconds=calm + self._length.overload + after, rate=capacity / 2)
        time.sleep(calm)
        peak = self._generator(url, seconds=self._length.overload, rate=2.5 * capacity)
        reports = [peak.report(), base.report()]
        start = peak.began - base.began
        return {
            "reports": {name: told(report) for name, report in zip(("peak", "base"), reports, strict=True)},
            "generator_cpu_share": round(sum(report.cpu_share for report in reports), 3),
            **endured(
                base.samples(), peak.samples(), start=start, seconds=self._length.overload, capacity=capacity
            ),
        }


def endured(
    base: np.ndarray, peak: np.ndarray, *, start: float, seconds: float, capacity: float
) -> dict[str, Any]:
    """What the samples of both loads say of an overload.

    Args:
        base: Samples of the load that goes on all the time, see ``Generator.samples``.
        peak: Those of the load that is added.
        start: When the latter began on the clock of the former.
        seconds: How long it went on.
        capacity: Requests per second.
    """
    under = base[(base[:, 0] >= start) & (base[:, 0] < start + seconds)]
    everything = np.concatenate([under - [start, 0, 0], peak])
    good, refused = everything[:, 2] == 200, everything[:, 2] == 429
    in_time = good & (everything[:, 0] + everything[:, 1] < seconds)
    calm = base[base[:, 0] < start - 1]
    normal = float(np.percentile(calm[:, 1], 99))
    return {
        "offered_share": round(len(everything) / seconds / capacity, 2),
        "goodput_share": round(in_time.sum() / seconds / capacity, 3),
        "neither": int((~good & ~refused).sum()),
        "answered_ms": percentiles(1000 * everything[good, 1], 50, 99),
        "refused_ms": percentiles(1000 * everything[refused, 1], 50, 99),
        "normal_p99_ms": round(1000 * normal, 2),
        "recovered_s": recovered(base, start + seconds, normal),
    }


def recovered(base: np.ndarray, end: float, normal: float) -> float | None:
    """Return after how many seconds, in halves, whole seconds have only answers and at most twice the p99."""
    for later in np.arange(0, 14, 0.5):
        window = base[(base[:, 0] >= end + later) & (base[:, 0] < end + later + 1)]
        if len(window) and (window[:, 2] == 200).all() and np.percentile(window[:, 1], 99) <= 2 * normal:
            return float(later)
    return None


@contextmanager
def served(places: Path, url: str, policy: Any) -> Iterator[None]:
    """Have a policy decide while inside, and the one that approves everything afterwards."""
    digest = json.loads((places / "pointer.json").read_text())["digest"]
    for version in (policy, APPROVE_ALL):
        point(places, digest, version)
        time.sleep(4)
        if version is policy:
            yield


@contextmanager
def bare(bundle: Path, folder: Path) -> Iterator[str]:
    """Run the peer while inside, and yield its URL."""
    port = free_port()
    command = ["uvicorn", "support.bare_peer:app", "--app-dir", str(HERE), "--port", str(port)]
    with (folder / "bare.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--no-access-log"],
            env={**os.environ, "BENCH_BUNDLE": str(bundle), "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )
        try:
            await_port(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def await_port(port: int) -> None:
    """Wait until something listens."""
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def free_port() -> int:
    """A port that nothing uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def told(report: Report) -> Mapping[str, Any]:
    """What matters of a report here."""
    names = ("requests_per_s", "statuses", "errors", "latency_ms", "late_ms", "cpu_share")
    return {name: getattr(report, name) for name in names}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add: Callable[..., object] = options.add_argument
    add("--quick", action="store_true", help="shorter, and less sure")
    add("--only", action="append", choices=PARTS, help="this part, and the capacity that it needs")
    add("--features", default="handbook", help="a feature set of configs/features")
    add("--overload-seconds", type=float)
    arguments = options.parse_args()
    length = QUICK if arguments.quick else LONG
    if arguments.overload_seconds:
        length = Length(**{**asdict(length), "overload": arguments.overload_seconds})
    folder = Path(tempfile.mkdtemp(prefix="bench-serve-"))
    began = time.monotonic()
    try:
        bench = Bench(folder, length, arguments.features)
        bench.run(arguments.only or PARTS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.monotonic() - began)
    result = {**bench.found, "bars": bench.bars, "seconds": seconds}
    print(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode())


if __name__ == "__main__":
    main()
