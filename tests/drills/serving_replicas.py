"""Replicas that are killed or stopped, and clients that hang up, under load."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from load import Plan
from serve_process import Service, state
from serving import (
    Traffic,
    answered,
    check,
    journalled,
    longest_silence_s,
    most,
    promises,
    shipped,
    until,
    zero,
)

RATE = 75.0


def kills(service: Service, folder: Path, *, times: int, seed: int, **load: float) -> None:
    """Kill a random replica, and the next one once all are there again, while two clients ask the same."""
    chosen, replicas = np.random.default_rng(seed), service.ready()
    plan = {"rate": RATE, **load, "seed": seed, "start_us": time.time_ns() // 1000}
    slowest = 0.0
    with Traffic(service.url, folder, **plan) as one, Traffic(service.url, folder, **plan) as other:
        for _ in range(times):
            time.sleep(chosen.uniform(0, 1))
            victim = int(chosen.choice(service.replicas()))
            os.kill(victim, signal.SIGKILL)
            until(lambda pid=victim: pid not in service.replicas(), within_s=10)
            slowest = max(slowest, service.await_ready(replicas, within_s=60))
        reports = [traffic.stop() for traffic in (one, other)]
    found, lake = promises(folder / "journal", [one, other]), shipped(folder)
    print(f"{sum(report.repeated for report in reports)} requests repeated of {len(found.acknowledged)}")
    check(
        "SIGKILL of a replica",
        times,
        {
            "acknowledged decisions missing: 0": zero(found.missing),
            "of them missing from the lake: 0": zero(len(found.acknowledged.keys() - lake)),
            "ids twice in the lake: 0": zero(sum(count > 1 for count in lake.values())),
            "requests failed after 3 retries: 0": zero(sum(report.failed for report in reports)),
            "ids with two answers: 0": zero(found.different),
            "all replicas back within 60 s": most(slowest, 60),
        },
    )


def stops(
    service: Service, folder: Path, *, times: int, seed: int, in_transaction: bool, **load: float
) -> None:
    """Stop a replica, and see the others go on and it replaced."""
    chosen, replicas = np.random.default_rng(seed), service.ready()
    spans, slowest = [], 0.0
    with Traffic(service.url, folder, **{"rate": 2 * RATE, **load}, seed=seed) as traffic:
        time.sleep(2)
        for _ in range(times):
            victim = int(chosen.choice(service.replicas()))
            _stop(victim, folder / "state" if in_transaction else None)
            stopped = time.monotonic()
            slowest = max(slowest, until(lambda pid=victim: state(pid) == "Z", within_s=60))
            service.await_ready(replicas, within_s=60)
            spans.append((stopped - traffic.began, time.monotonic() - traffic.began))
        report = traffic.stop()
    found = promises(folder / "journal", [traffic])
    silence = max(longest_silence_s(traffic.samples(), *span) for span in spans)
    check(
        "SIGSTOP inside a transaction" if in_transaction else "SIGSTOP of a replica",
        times,
        {
            "the others go on within 2 s": most(silence, 2),
            "it is evicted within 20 s": most(slowest, 20),
            "acknowledged decisions missing: 0": zero(found.missing),
            "requests failed after 3 retries: 0": answered(report),
            "ids with two answers: 0": zero(found.different),
        },
    )


def _stop(pid: int, store: Path | None) -> None:
    """Stop a process; where a store is given, while it holds the store's write lock."""
    deadline = time.monotonic() + 30
    while True:
        if store is None or holds(pid, store):
            os.kill(pid, signal.SIGSTOP)
            if store is None:
                return
            until(lambda: state(pid) == "T", within_s=5)
            if holds(pid, store):
                return
            os.kill(pid, signal.SIGCONT)
        assert time.monotonic() < deadline, "the process never held the write lock"


def holds(pid: int, store: Path) -> bool:
    """Whether a process holds the write lock of an LMDB store: the lock's word is one of its threads' ids."""
    threads = {int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()}
    with (store / "lock.mdb").open("rb") as file:
        head = file.read(256)
    return any(word & 0x3FFFFFFF in threads for (word,) in struct.iter_unpack("<I", head))


def hang_ups(service: Service, folder: Path, *, times: int, seed: int) -> None:
    """Send requests, or parts of them, and close the connection; others are answered meanwhile."""
    chosen = np.random.default_rng(seed)
    plan = Plan(service.url, 0, rate=RATE, seed=seed + 1, start_us=time.time_ns() // 1000)
    transactions = plan.transactions
    with Traffic(service.url, folder, rate=RATE, seed=seed, retries=0) as traffic:
        for number in range(times):
            _, body = transactions(number)
            _hang_up(plan, plan.head + b"%d\r\n\r\n" % len(body) + body, chosen)
        time.sleep(1)
        report = traffic.stop()
    found = promises(folder / "journal", [traffic])
    kept = journalled(folder / "journal")
    decided = sum(transactions(number)[0] in kept for number in range(times))
    print(f"{decided} of {times} requests of clients that hung up were decided")
    check(
        "clients that hang up",
        times,
        {
            "requests of others failed: 0": answered(report),
            "the slowest answer of others within 1 s": most(report.latency_ms["200"]["max"] / 1000, 1),
            "acknowledged decisions missing: 0": zero(found.missing),
            "ids with two answers: 0": zero(sum(len(shown) > 1 for shown in kept.values())),
        },
    )


def _hang_up(plan: Plan, request: bytes, chosen: np.random.Generator) -> None:
    """Send all of a request, or half the time a part of it, and close or reset the connection."""
    where = urlsplit(plan.url)
    sent = len(request) if chosen.random() < 0.5 else int(chosen.integers(1, len(request)))
    with socket.create_connection((str(where.hostname), where.port or 80)) as client:
        if chosen.random() < 0.5:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(request[:sent])
        time.sleep(chosen.uniform(0, 0.006))
