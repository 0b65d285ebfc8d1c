"""What one serving process holds open: the model, the state, the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fraud.model.reason_catalogue import Catalogue
from fraud.money import rates
from fraud.settings import MoneySettings
from fraud.storage.journal import Journal
from fraud.storage.state import OnlineState
from serve_app.scorer import Scorer
from serve_app.served import Watcher
from serve_app.settings import ServeSettings


@dataclass(frozen=True)
class Places:
    """Where the service's files are, as absolute paths on every node that has replicas.

    Attributes:
        pointer: The file that names the model to serve.
        state: The folder of the online state.
        journal: The folder of the decision journal.
    """

    pointer: Path
    state: Path
    journal: Path


class Replica:
    """Opens everything or raises what is wrong; ``running`` closes it again."""

    def __init__(
        self, places: Places, money: MoneySettings, catalogue: Catalogue, settings: ServeSettings
    ) -> None:
        self._state = OnlineState.open(places.state)
        self._watcher = Watcher(places.pointer, settings.pointer_poll_s, self._state.check)
        self._journal = Journal(places.journal, segment_bytes=settings.journal_segment_bytes)
        self.scorer = Scorer(
            self._watcher,
            self._state,
            self._journal,
            rates=rates(money),
            catalogue=catalogue,
            settings=settings,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the pointer while inside; then put the last records on disk and close."""
        following = asyncio.create_task(self._watcher.follow())
        try:
            yield
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            await self._journal.close()
            self._state.close()
