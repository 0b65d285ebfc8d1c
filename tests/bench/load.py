"""Load on a scoring service, from one process and little of a CPU.

Open loop: requests start at their intended times however long others take, and their latency counts from
then, so a service that stalls cannot hide it. Closed loop, for the capacity: as many requests under way as
stated, always. Every request is a transaction of its own, of one of many cards; the same seed and start
make the same requests again.

    python tests/bench/load.py --url http://127.0.0.1:8000 --rate 200 --seconds 60
    python tests/bench/load.py --url http://127.0.0.1:8000 --concurrency 16 --seconds 10

The report is JSON on standard output. SIGTERM ends the load early, with its report.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

import numpy as np
import uvloop
from support.http_client import Answer, Exchange, Pool
from support.tally import Report, Tally
from support.transactions import Transactions

_OPENED_FIRST = 16
_RETRY_S = 1.0
_CLOSED_STEP_US = 100.0


@dataclass(frozen=True)
class Plan:
    """A load.

    Attributes:
        url: Of the service, without a path.
        seconds: How long requests are started.
        rate: Requests per second, open loop.
        concurrency: Or requests under way at once, closed loop.
        path: Where they are posted.
        batch: Transactions in a request, 0 for a single one as ``/v1/score`` takes it.
        api_key: Sent as ``X-API-Key``, unless empty.
        keys: Cards.
        seed: Of the transactions.
        start_us: When the first transaction happens, microseconds since 1970.
        retries: How often a request without a 2xx is sent again, 1 s later or when ``Retry-After`` says.
        timeout_s: When a request is given up.
        connections: Open at once, at most.
    """

    url: str
    seconds: float
    rate: float = 0.0
    concurrency: int = 0
    path: str = "/v1/score"
    batch: int = 0
    api_key: str = ""
    keys: int = 1_000_000
    seed: int = 1
    start_us: int = 0
    retries: int = 0
    timeout_s: float = 10.0
    connections: int = 1024

    @property
    def head(self) -> bytes:
        """Of every request, up to its length."""
        key = f"X-API-Key: {self.api_key}\r\n" if self.api_key else ""
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: {urlsplit(self.url).netloc}\r\n"
            f"Content-Type: application/json\r\n{key}Content-Length: "
        ).encode()

    @property
    def transactions(self) -> Transactions:
        """The requests by number."""
        step_us = 1e6 / self.rate if self.rate else _CLOSED_STEP_US
        return Transactions(
            self.seed,
            keys=self.keys,
            start_us=self.start_us,
            step_us=step_us / max(self.batch, 1),
            batch=self.batch,
        )


class Load:
    """One load under way."""

    def __init__(self, plan: Plan, tally: Tally) -> None:
        self._plan, self._tally = plan, tally
        self._transactions = plan.transactions
        self._sent = self._open = 0
        self._stopped = asyncio.Event()
        self._idle = asyncio.Event()
        where = urlsplit(plan.url)
        self._pool = Pool(
            str(where.hostname),
            where.port or 80,
            plan.head,
            most=plan.concurrency or plan.connections,
            timeout_s=plan.timeout_s,
            done=self._done,
        )

    def stop(self) -> None:
        """Start no further request; those under way are waited for."""
        self._stopped.set()

    async def run(self) -> Report:
        """Send everything and sum up."""
        await self._pool.open(self._plan.concurrency or min(_OPENED_FIRST, self._plan.connections))
        cpu, self._began = time.process_time(), time.monotonic()
        await (self._open_loop() if self._plan.rate else self._closed_loop())
        while self._open:
            self._idle.clear()
            await self._idle.wait()
        seconds, cpu_s = time.monotonic() - self._began, time.process_time() - cpu
        self._pool.close()
        return self._tally.report(seconds=seconds, requests=self._sent, cpu_s=cpu_s)

    @property
    def began(self) -> float:
        """When the first request was to start, of ``time.monotonic``."""
        return self._began

    async def _open_loop(self) -> None:
        rate = self._plan.rate
        last = round(rate * self._plan.seconds)
        while self._sent < last and not self._stopped.is_set():
            now = time.monotonic()
            while self._sent < last and (due := self._began + self._sent / rate) <= now:
                self._start(due)
            await asyncio.sleep(max(0.0, self._began + self._sent / rate - time.monotonic()))

    async def _closed_loop(self) -> None:
        for _ in range(self._plan.concurrency):
            self._start(time.monotonic())
        try:
            async with asyncio.timeout(self._plan.seconds):
                await self._stopped.wait()
        except TimeoutError:
            self._stopped.set()

    def _start(self, intended: float) -> None:
        identifier, body = self._transactions(self._sent)
        exchange = Exchange(self._sent, identifier, body, intended)
        self._sent += 1
        self._open += 1
        self._send(exchange)

    def _send(self, exchange: Exchange) -> None:
        self._tally.sent(exchange, time.monotonic())
        self._pool.send(exchange)

    def _done(self, exchange: Exchange, answer: Answer) -> None:
        self._tally.ended(exchange, answer, time.monotonic())
        good = 200 <= answer.status < 300
        if not good and exchange.attempt < self._plan.retries and _may_pass(answer):
            wait_s = max(_RETRY_S, answer.retry_after_s)
            again = replace(exchange, intended=time.monotonic() + wait_s, attempt=exchange.attempt + 1)
            asyncio.get_running_loop().call_later(wait_s, self._send, again)
            return
        self._tally.failed += not good
        self._open -= 1
        if self._plan.concurrency and not self._stopped.is_set():
            self._start(time.monotonic())
        elif not self._open:
            self._idle.set()


def _may_pass(answer: Answer) -> bool:
    """Whether the same request may be answered later."""
    return answer.status == 0 or answer.status in {408, 429} or answer.status >= 500


def run(plan: Plan, *, log: TextIO | None = None, samples: Path | None = None) -> Report:
    """Send a load and report.

    Args:
        plan: The load; a ``start_us`` of 0 is now.
        log: Gets a line for each acknowledged request, see ``Tally``.
        samples: Gets, as a numpy file of shape ``(attempts, 3)``: the intended start and the latency in
            seconds, and the status.
    """

    async def scenario() -> Report:
        tally = Tally(log)
        load = Load(replace(plan, start_us=plan.start_us or time.time_ns() // 1000), tally)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stop)
        report = await load.run()
        if samples is not None:
            columns = (np.array(tally.intended) - load.began, np.array(tally.latency), np.array(tally.status))
            np.save(samples, np.column_stack(columns))
        return report

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scenario())


def _plan(arguments: argparse.Namespace) -> Plan:
    return Plan(**{name: getattr(arguments, name) for name in Plan.__dataclass_fields__})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add: Callable[..., object] = options.add_argument
    add("--url", required=True)
    add("--seconds", type=float, required=True)
    add("--log", type=Path, help="a line for each acknowledged request: number, id, SHA-256 of the answer")
    add("--samples", type=Path, help="a numpy file: intended start, latency, status of every attempt")
    kind = options.add_mutually_exclusive_group(required=True)
    kind.add_argument("--rate", type=float, default=0.0, help="open loop, requests per second")
    kind.add_argument("--concurrency", type=int, default=0, help="closed loop, requests under way")
    given = {"url", "seconds", "rate", "concurrency"}
    for name, field in Plan.__dataclass_fields__.items():
        if name not in given:
            add(f"--{name.replace('_', '-')}", type=type(field.default), default=field.default)
    arguments = options.parse_args()
    plan = _plan(arguments)
    if arguments.log is None:
        report = run(plan, samples=arguments.samples)
    else:
        with arguments.log.open("w", encoding="utf-8") as log:
            report = run(plan, log=log, samples=arguments.samples)
    print(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
