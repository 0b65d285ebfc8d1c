"""What one serving process holds open: the model, the state, the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import numpy as np

from fraud.errors import DiskFullError
from fraud.jobs.provenance import code_version
from fraud.model.reason_catalogue import Catalogue
from fraud.model.reason_texts import Wording
from fraud.money import rates
from fraud.settings import MoneySettings
from fraud.storage.disk import free_bytes
from fraud.storage.journal import Journal
from fraud.storage.state import OnlineState
from serve_app import clock
from serve_app.access_log import AccessLog
from serve_app.catch_up import CatchUp
from serve_app.inquiries import Inquiries
from serve_app.places import Places
from serve_app.review_budget import ReviewBudget
from serve_app.scorer import Parts, Scorer
from serve_app.served import Watcher
from serve_app.settings import ServeSettings
from serve_app.shadow import Shadow
from serve_app.telemetry import Telemetry

_MEASURED_S: Final = 1.0
_SLOW_SHARE: Final = 0.5
"""Of the deadline: what took longer is logged."""


class Replica:
    """Opens everything or raises what is wrong; ``running`` closes it again.

    Attributes:
        scorer: Answers what is posted.
        inquiries: Answers what is asked.
        telemetry: What this process counts.
        access_log: Of the requests that an operator may be asked about.
    """

    def __init__(
        self, places: Places, money: MoneySettings, catalogue: Catalogue, settings: ServeSettings
    ) -> None:
        self.telemetry = Telemetry()
        self.access_log = AccessLog(settings.deadline_s * _SLOW_SHARE)
        self._state = OnlineState.open(places.state, reserve_bytes=settings.disk_reserve_bytes)
        self._watcher = Watcher(places.pointer, settings.pointer_poll_s, self._state.prepare, self.telemetry)
        self._places = places
        self._reserve_bytes = settings.disk_reserve_bytes
        self._journal = Journal(places.journal, segment_bytes=settings.journal_segment_bytes)
        self._budget = ReviewBudget(places.journal)
        self._catch_up = CatchUp(self._state)
        self._shadow = Shadow(self._watcher, self._state, self._journal, self.telemetry)
        exchange = rates(money)
        parts = Parts(
            budget=self._budget,
            catch_up=self._catch_up,
            shadow=self._shadow,
            telemetry=self.telemetry,
            access_log=self.access_log,
            rates=exchange,
            wording=Wording(exchange.base, catalogue),
            settings=settings,
            code_version=code_version(),
        )
        self.scorer = Scorer(self._watcher, self._state, self._journal, parts)
        self.inquiries = Inquiries(
            self._watcher,
            self._state,
            places,
            settings,
            {"journal": self._journal.problem, "disk": self._disk_problem},
        )

    @asynccontextmanager
    async def running(self, *also: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        """Work in the background while inside; then put the last records on disk and close.

        Args:
            also: What else is to run.
        """
        chores = (self._watcher.follow, self._catch_up.follow, self._shadow.run, self._measure, *also)
        tasks = [asyncio.create_task(chore()) for chore in chores]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._journal.close()
            self._budget.close()
            self._state.close()

    async def _measure(self) -> None:
        """Set the gauges, for ever."""
        gauge = self.telemetry.gauge
        while True:
            self.scorer.refresh()
            gauge("state_age_seconds", clock.now_us() / 1e6 - self._state.known_as_of().timestamp())
            gauge("journal_queue_records", self._journal.waiting)
            gauge("disk_free_bytes", self._free_bytes())
            gauge("reviews_given", self._budget.given())
            gauge("shadow_queue", self._shadow.waiting)
            await asyncio.sleep(_MEASURED_S)

    def _free_bytes(self) -> int:
        """On the fuller of the disks that are written to."""
        return min(free_bytes(place) for place in (self._places.state.parent, self._places.journal))

    def _disk_problem(self) -> str | None:
        if self._free_bytes() >= self._reserve_bytes:
            return None
        return str(DiskFullError(self._reserve_bytes))

    async def look(self) -> None:
        """Look for another model now."""
        await self._watcher.look()

    def probe(self) -> None:
        """Score a row of missing values; raises what scoring would, and never waits for the state."""
        bundle = self._watcher.served.bundle
        bundle.scores(np.full((1, len(bundle.feature_set.names)), np.nan, np.float32))
