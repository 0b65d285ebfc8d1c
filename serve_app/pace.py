"""Turns of work on the event loop, short enough that sockets are looked at in between.

Handlers that are ready at once would all run before the loop looks at its sockets again, and whoever could be
refused at once would wait for all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

_SLICE_S: Final = 0.02
"""Work of one turn of the loop, then the rest waits for the next ones."""
_LOOKS: Final = 16
"""At the sockets between two slices: uvloop accepts one connection at a look, and each of the many that an
overload opens would otherwise wait for the work of all before it."""


class Pace:
    """Hands out turns in the order in which they are asked for; used from one event loop."""

    def __init__(self) -> None:
        self._began = 0.0
        self._looks = 0
        self._is_counting = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Return when it is one's turn to work: at once, unless much was done since the loop last looked."""
        now = time.perf_counter()
        if not self._is_counting:
            self._begin(now)
            self._look()
            return
        if not self._waiting and now - self._began < _SLICE_S:
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        await mine

    def _begin(self, now: float) -> None:
        self._began = now
        self._looks = 0
        self._is_counting = True

    def _look(self) -> None:
        asyncio.get_running_loop().call_soon(self._looked)

    def _looked(self) -> None:
        """The loop has looked: let one work, or look again where a slice is over."""
        self._looks += 1
        if not self._waiting:
            self._is_counting = False
            return
        now = time.perf_counter()
        is_over = now - self._began >= _SLICE_S
        if not is_over or self._looks >= _LOOKS:
            if is_over:
                self._begin(now)
            self._let_one_work()
        self._look()

    def _let_one_work(self) -> None:
        while self._waiting:
            mine = self._waiting.popleft()
            if not mine.done():  # else it gave up
                mine.set_result(None)
                return
