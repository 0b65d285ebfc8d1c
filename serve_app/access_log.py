"""The requests that an operator may be asked about: refused, answered without a score, or slow.

Ordinary answers are not logged: the journal has each of them, with caller, latency and all it was made of.
No line holds a value of a request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

PER_SECOND: Final = 20
"""Lines a second; what is beyond is only counted, so that an overload does not fill the disk as well."""

logger = logging.getLogger(__name__)


class AccessLog:
    """Writes a line for some requests.

    Args:
        slow_s: An answer that took longer is slow.
        clock: Seconds, only rising.
    """

    def __init__(self, slow_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._slow_s = slow_s
        self._clock = clock
        self._second = -1
        self._written = 0
        self._left_out = 0

    def answered(
        self,
        request_id: str,
        operation: str,
        *,
        caller: str,
        status: int,
        seconds: float,
        code: str | None = None,
    ) -> None:
        """Write a line where a request was refused or slow.

        Args:
            request_id: As in the answer's header.
            operation: The path of what was called as the documentation has it, empty for anything else; never
                the path as sent, which may hold an id.
            caller: The id of the API key, empty where none was accepted.
            status: Of HTTP.
            seconds: Since the request arrived.
            code: Of the error, None for an answer.
        """
        if code is None and seconds <= self._slow_s:
            return
        facts = {
            "request_id": request_id,
            "operation": operation,
            "caller": caller,
            "status": status,
            "latency_ms": round(seconds * 1000, 1),
        }
        if code is None:
            self._write(logging.INFO, "request slow", facts)
        else:
            level = logging.WARNING if status >= 500 else logging.INFO
            self._write(level, "request refused", {**facts, "code": code})

    def degraded(self, request_id: str, *, caller: str, cause: str, transactions: int) -> None:
        """Write a line about a request that the policy's fallback answered, in part or whole.

        Args:
            request_id: As in the answer's header.
            caller: The id of the API key.
            cause: Why there was no score.
            transactions: Of the request, without one.
        """
        facts = {"request_id": request_id, "caller": caller, "cause": cause, "transactions": transactions}
        self._write(logging.WARNING, "request degraded", facts)

    def _write(self, level: int, message: str, facts: dict[str, Any]) -> None:
        second = int(self._clock())
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= PER_SECOND:
            self._left_out += 1
            return
        self._written += 1
        if self._left_out:
            facts["left_out_before"] = self._left_out
            self._left_out = 0
        logger.log(level, message, extra=facts)
