"""What happened to the requests of one load: counted as they end, told as one report."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from dataclasses import dataclass
from typing import Final, TextIO

import numpy as np
from support.http_client import Answer, Exchange

_DIGEST: Final = re.compile(rb'"digest": ?"([0-9a-f]+)"')


@dataclass(frozen=True)
class Report:
    """One load; times in milliseconds count from the intended start of the request.

    Attributes:
        seconds: From the first intended start to the last answer.
        requests: Different ones that were sent.
        requests_per_s: Of those answered with 2xx, per second.
        statuses: Answers by status.
        errors: Attempts without an answer, by kind: refused, reset, closed (without an answer), timeout.
        latency_ms: By status: p50, p90, p99, p99.9, max.
        repeated: Attempts after the first of a request.
        failed: Requests that had no 2xx in the end.
        two_answers: Requests that were answered with 2xx twice, differently.
        digests: Of the models, answers by digest.
        no_digest: Answers with 2xx that named no model, or several.
        late_ms: How much after their intended start the generator sent requests: p50, p99, max.
        cpu_share: Of one CPU that the generator used.
        cpu_us_per_request: Of the generator.
    """

    seconds: float
    requests: int
    requests_per_s: float
    statuses: dict[str, int]
    errors: dict[str, int]
    latency_ms: dict[str, dict[str, float]]
    repeated: int
    failed: int
    two_answers: int
    digests: dict[str, int]
    no_digest: int
    late_ms: dict[str, float]
    cpu_share: float
    cpu_us_per_request: float


class Tally:
    """Counts one load."""

    def __init__(self, log: TextIO | None = None) -> None:
        """Begin.

        Args:
            log: Gets a line for each 2xx: the request's number, its id, SHA-256 of the answer, in hex.
        """
        self._log = log
        self._statuses: Counter[int] = Counter()
        self._errors: Counter[str] = Counter()
        self._digests: Counter[bytes] = Counter()
        self._answers: dict[int, bytes] = {}
        """SHA-256 by number, of requests that were sent more than once."""
        self.no_digest = self.repeated = self.failed = self.two_answers = 0
        self.intended, self.latency, self.late = array("d"), array("d"), array("d")
        self.status = array("i")

    def sent(self, exchange: Exchange, now: float) -> None:
        self.late.append(now - exchange.intended)
        self.repeated += exchange.attempt > 0

    def ended(self, exchange: Exchange, answer: Answer, now: float) -> None:
        self.intended.append(exchange.intended)
        self.latency.append(now - exchange.intended)
        self.status.append(answer.status)
        if answer.error:
            self._errors[answer.error] += 1
            return
        self._statuses[answer.status] += 1
        if 200 <= answer.status < 300:
            self._answered(exchange, answer.body)

    def _answered(self, exchange: Exchange, body: bytes) -> None:
        named = set(_DIGEST.findall(body))
        self.no_digest += len(named) != 1
        self._digests.update(named)
        if self._log is None and exchange.attempt == 0:
            return
        shown = hashlib.sha256(body).digest()
        self.two_answers += self._answers.setdefault(exchange.number, shown) != shown
        if self._log is not None:
            self._log.write(f"{exchange.number} {exchange.identifier} {shown.hex()}\n")

    def report(self, *, seconds: float, requests: int, cpu_s: float) -> Report:
        """Sum up."""
        good = sum(count for status, count in self._statuses.items() if 200 <= status < 300)
        latency, status = np.array(self.latency) * 1e3, np.array(self.status)
        return Report(
            seconds=round(seconds, 3),
            requests=requests,
            requests_per_s=round(good / seconds, 1),
            statuses={str(found): count for found, count in sorted(self._statuses.items())},
            errors=dict(self._errors),
            latency_ms={
                str(found): percentiles(latency[status == found], 50, 90, 99, 99.9)
                for found in sorted(self._statuses)
            },
            repeated=self.repeated,
            failed=self.failed,
            two_answers=self.two_answers,
            digests={digest.decode(): count for digest, count in self._digests.items()},
            no_digest=self.no_digest,
            late_ms=percentiles(np.array(self.late) * 1e3, 50, 99),
            cpu_share=round(cpu_s / seconds, 3),
            cpu_us_per_request=round(1e6 * cpu_s / max(len(self.status), 1), 1),
        )


def percentiles(values: np.ndarray, *wanted: float) -> dict[str, float]:
    """Return percentiles and the maximum by name, rounded."""
    if not len(values):
        return {}
    found = np.percentile(values, wanted)
    named = {f"p{name:g}": round(float(value), 3) for name, value in zip(wanted, found, strict=True)}
    return {**named, "max": round(float(values.max()), 3)}
