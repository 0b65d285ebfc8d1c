"""What the service leans on goes away under load, and comes back: MLflow, the state, room on the disk."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from factories_policy import make_policy
from factories_serve import make_served
from mlflow_server import free_port, server
from serve_process import Service
from serving import Traffic, check, most, promises, until, zero
from serving_rollouts import all_serve

from fraud.storage.lake import Lake
from fraud.storage.registry import Registry
from fraud.storage.tracking import Tracking

RATE = 100.0


class Registered:
    """An MLflow server that can be stopped, with two versions of a model; the first is the champion."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._running = ExitStack()
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Have it answer."""
        self._running.enter_context(server(self._folder / "mlflow", port=self._port))

    def stop(self) -> None:
        """Have it gone."""
        self._running.close()

    def fill(self, served: Path) -> None:
        """Register the versions; their bundles are made in the service's folder."""
        tracking = Tracking(self.url, "", "drills")
        for seed in (1, 2):
            make_served(served, f"registered-{seed}", seed=seed)
            with tracking.run("train") as run:
                bundle = served / f"bundle-registered-{seed}"
                self._registry(served).register(run.id, bundle, make_policy("1"))
        self.promote(served, "1")

    def promote(self, served: Path, version: str) -> None:
        """Make a version the champion."""
        self._registry(served).set_alias("champion", version, "ann", "a drill")

    def _registry(self, served: Path) -> Registry:
        return Registry(self.url, "fraud", Lake(str(served / "lake")))


def mlflow_stopped(service: Service, folder: Path, registered: Registered, *, seconds: float) -> None:
    """Stop MLflow for a while; meanwhile a replica starts anew, and afterwards a model is promoted."""
    replicas = service.ready()
    with Traffic(service.url, folder, rate=RATE, seed=1) as traffic:
        time.sleep(2)
        registered.stop()
        stopped = time.monotonic()
        os.kill(service.replicas()[0], signal.SIGKILL)
        until(lambda: len(service.replicas()) < replicas, within_s=10)
        back = service.await_ready(replicas, within_s=60)
        time.sleep(max(0.0, stopped + seconds - time.monotonic()))
        registered.start()
        registered.promote(folder, "2")
        visible = until(lambda: all_serve(service, "2"), within_s=60)
        report = traffic.stop()
    found = promises(folder / "journal", [traffic])
    check(
        f"MLflow stopped for {seconds:g} s",
        1,
        {
            "requests failed after 3 retries: 0": zero(report.failed),
            "a replica starts without it within 60 s": most(back, 60),
            "acknowledged decisions missing: 0": zero(found.missing),
            "a promotion is visible in 10 s afterwards": most(visible, 10),
        },
    )


def state_deleted(service: Service, folder: Path, *, times: int) -> None:
    """Delete the folder of the online state, again and again."""
    slowest = 0.0
    with Traffic(service.url, folder, rate=RATE, seed=2, retries=0) as traffic:
        for _ in range(times):
            time.sleep(1)
            shutil.rmtree(folder / "state")
            slowest = max(slowest, until(lambda: (folder / "state" / "data.mdb").exists(), within_s=30))
        time.sleep(2)
        report = traffic.stop()
    found = promises(folder / "journal", [traffic])
    check(
        "the online state deleted",
        times,
        {
            "answers other than 2xx: 0": zero(report.failed),
            "put back within 10 s": most(slowest, 10),
            "acknowledged decisions missing: 0": zero(found.missing),
            "ids with two answers: 0": zero(found.different),
        },
    )


def disk_full(service: Service, folder: Path, *, times: int) -> None:
    """Fill the disk of the journal, which is one of its own, and make room again."""
    filler = folder / "journal" / "filler"
    refused: list[float] = []
    spans, slowest = [], 0.0
    with Traffic(service.url, folder, rate=RATE, seed=3, retries=0) as traffic:
        for _ in range(times):
            time.sleep(2)
            began = time.monotonic() - traffic.began
            _fill(filler)
            time.sleep(4)
            filler.unlink()
            ended = time.monotonic() - traffic.began
            time.sleep(10)
            spans.append((began, ended))
        report = traffic.stop()
    samples = traffic.samples()
    for began, ended in spans:
        during = samples[(samples[:, 0] > began + 0.5) & (samples[:, 0] < ended)]
        refused.append(float(np.mean(during[:, 2] == 503)))
        later = samples[(samples[:, 0] > ended) & (samples[:, 0] < ended + 10) & (samples[:, 2] != 200)]
        slowest = max(slowest, float(later[:, 0].max() - ended) if len(later) else 0.0)
    found = promises(folder / "journal", [traffic])
    check(
        "the journal's disk full",
        times,
        {
            # A segment that is given up frees a page, into which the next record may go honestly.
            "share of 503 while it is: more than half": (round(min(refused), 3), min(refused) > 0.5),
            "answers other than 200 and 503: 0": zero(
                sum(count for status, count in report.statuses.items() if status not in {"200", "503"})
                + sum(report.errors.values())
            ),
            "200 and nothing else 5 s later": most(slowest, 5),
            "acknowledged decisions missing: 0": zero(found.missing),
            "ids with two answers: 0": zero(found.different),
        },
    )


def _fill(filler: Path) -> None:
    """Write until nothing fits; the journal, which goes on meanwhile, gets no byte either."""
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
