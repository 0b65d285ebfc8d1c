"""HTTP/1.1 for a load generator: kept-alive connections, one request at a time on each, little else.

Answers must have a ``Content-Length`` or end with their connection, as those of uvicorn and HAProxy do.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

_LENGTH: Final = re.compile(rb"(?i)\ncontent-length: *([0-9]+)")
_RETRY_AFTER: Final = re.compile(rb"(?i)\nretry-after: *([0-9]+)")
_CLOSE: Final = re.compile(rb"(?i)\nconnection: *close")
_SWEEP_S: Final = 0.05


@dataclass(slots=True)
class Exchange:
    """A request: which, what, when it was to start (``time.monotonic``), and how often it was sent before."""

    number: int
    identifier: str
    body: bytes
    intended: float
    attempt: int = 0


@dataclass(slots=True)
class Answer:
    """What came back: a status, or the kind of error where there is none (0)."""

    status: int
    body: bytes = b""
    retry_after_s: float = 0.0
    error: str = ""


Done = Callable[[Exchange, Answer], None]


class Pool:
    """Connections to one server; a request takes a free one, a new one, or waits for either."""

    def __init__(self, host: str, port: int, head: bytes, *, most: int, timeout_s: float, done: Done) -> None:
        """Prepare.

        Args:
            host: Of the server.
            port: Of the server.
            head: Of every request, up to and including ``Content-Length: ``.
            most: Connections open at once.
            timeout_s: After the intended start a request is given up and its connection closed.
            done: Called once for each request sent.
        """
        self._host, self._port, self._head, self._most = host, port, head, most
        self._timeout_s, self._done = timeout_s, done
        self._all: set[_Connection] = set()
        self._free: list[_Connection] = []
        self._waiting: deque[Exchange] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self, count: int) -> None:
        """Open so many connections ahead of the first request."""
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        await asyncio.gather(*(self._connect() for _ in range(count)))

    def send(self, exchange: Exchange) -> None:
        """Send a request as soon as there is a connection for it."""
        if self._free:
            self._begin(self._free.pop(), exchange)
            return
        self._waiting.append(exchange)
        if len(self._all) + len(self._opening) < self._most:
            task = asyncio.get_running_loop().create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def close(self) -> None:
        """Close all connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in tuple(self._all):
            connection.drop()

    def _begin(self, connection: _Connection, exchange: Exchange) -> None:
        connection.begin(exchange, b"%b%d\r\n\r\n%b" % (self._head, len(exchange.body), exchange.body))

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                _, made = await loop.create_connection(
                    lambda: _Connection(self._ended), self._host, self._port
                )
        except OSError as error:
            if self._waiting:
                kind = "timeout" if isinstance(error, TimeoutError) else "refused"
                self._done(self._waiting.popleft(), Answer(0, error=kind))
            return
        self._all.add(made)
        self._idle(made)

    def _idle(self, connection: _Connection) -> None:
        if self._waiting:
            self._begin(connection, self._waiting.popleft())
        else:
            self._free.append(connection)

    def _ended(self, connection: _Connection, exchange: Exchange | None, answer: Answer) -> None:
        """A request of a connection has its answer, or the connection was closed."""
        if connection.open:
            self._idle(connection)
        else:
            self._all.discard(connection)
            if connection in self._free:
                self._free.remove(connection)
        if exchange is not None:
            self._done(exchange, answer)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            oldest = time.monotonic() - self._timeout_s
            while self._waiting and self._waiting[0].intended < oldest:
                self._done(self._waiting.popleft(), Answer(0, error="timeout"))
            for connection in tuple(self._all):
                if connection.exchange is not None and connection.exchange.intended < oldest:
                    connection.fail("timeout")


class _Connection(asyncio.Protocol):
    def __init__(self, ended: Callable[[_Connection, Exchange | None, Answer], None]) -> None:
        self._ended = ended
        self.open = True
        self.exchange: Exchange | None = None
        self._got = b""
        self._needed = -1
        """Bytes of the whole answer; -1 before its head is there, -2 where it ends with the connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def begin(self, exchange: Exchange, raw: bytes) -> None:
        self.exchange, self._got, self._needed = exchange, b"", -1
        self._transport.write(raw)

    def data_received(self, data: bytes) -> None:
        if self.exchange is None:  # such as 408 for a connection that was idle for too long
            self.drop()
            return
        self._got = self._got + data if self._got else data
        if self._needed == -1:
            end = self._got.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            length = _LENGTH.search(self._got, 0, end)
            self._needed = end + int(length[1]) if length else -2
        if 0 <= self._needed <= len(self._got):
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._needed == -2:
            self._finish()
        else:
            self.fail("reset" if exc is not None else "closed")

    def fail(self, error: str) -> None:
        self.drop()
        exchange, self.exchange = self.exchange, None
        self._ended(self, exchange, Answer(0, error=error))

    def drop(self) -> None:
        self.open = False
        self._transport.abort()

    def _finish(self) -> None:
        exchange, self.exchange = self.exchange, None
        end = self._got.find(b"\r\n\r\n") + 4
        if _CLOSE.search(self._got, 0, end):
            self.drop()
        retry = _RETRY_AFTER.search(self._got, 0, end)
        answer = Answer(int(self._got[9:12]), self._got[end:], float(retry[1]) if retry else 0.0)
        self._needed = -1
        self._ended(self, exchange, answer)
