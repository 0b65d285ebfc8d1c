"""What the state missed: decisions taken while it could not be written, brought in once it can.

They are in the journal already. Until they are in the state a retry may be decided again; what the state
holds then is the answer that later retries get.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from itertools import islice
from typing import Final

from fraud.errors import ConflictError, DiskFullError, StateBusyError
from fraud.features.online import OnlineTransaction
from fraud.storage.state import OnlineState
from serve_app.decider import Asked, Decided

_PAUSE_S: Final = 0.2
_TURN_S: Final = 1.0
_AT_ONCE: Final = 50
_MOST: Final = 100_000
"""Older ones are forgotten: the state gets them from the journal when it is built again."""

logger = logging.getLogger(__name__)


class CatchUp:
    """Decisions that wait for the state."""

    def __init__(self, state: OnlineState) -> None:
        self._state = state
        self._waiting: dict[str, tuple[OnlineTransaction, bytes, bytes]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, asked: Sequence[Asked], decided: Sequence[Decided]) -> None:
        """Have decisions brought in."""
        for each, own in zip(asked, decided, strict=True):
            self._waiting[each.transaction.transaction_id] = (each.transaction, each.digest, own.record)
        while len(self._waiting) > _MOST:
            del self._waiting[next(iter(self._waiting))]

    def record(self, transaction_id: str) -> bytes | None:
        """Return the record of a decision that waits, if it is one."""
        found = self._waiting.get(transaction_id)
        return None if found is None else found[2]

    async def follow(self) -> None:
        """Bring in what waits, for ever."""
        while True:
            await asyncio.sleep(_PAUSE_S)
            try:
                while self._waiting:
                    await self._some()
            except (StateBusyError, DiskFullError) as error:
                logger.warning(
                    "decisions wait for the state", extra={"waiting": len(self), "why": error.code}
                )

    async def _some(self) -> None:
        some = dict(islice(self._waiting.items(), _AT_ONCE))
        async with self._state.turn(time.monotonic() + _TURN_S):
            for transaction, digest, record in some.values():
                try:
                    self._state.record(transaction, digest)
                except ConflictError:
                    continue  # another body came first and has its own answer
                self._state.keep([(transaction, record)])
        for transaction_id in some:
            self._waiting.pop(transaction_id, None)
