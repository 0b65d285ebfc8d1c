"""From a request to a durable answer.

The state stores, under the transaction's id, the decision's whole journal record; the answer is a part of it.
Whoever asks again gets that part of the stored record, and the record is journalled again before it does:
so no answer leaves that the journal lacks, even where the first process died between storing and journalling.

Where the state cannot be asked in time the policy's fallback decides. That is journalled and answered at
once, and brought into the state as soon as it can be (``serve_app.catch_up``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec
import numpy as np
import orjson

from fraud.errors import ConflictError, DiskFullError, StateBusyError
from fraud.features.facts import Floats
from fraud.model.policy import REVIEW
from fraud.model.reason_texts import Wording
from fraud.money import Rates
from fraud.storage.journal import Journal, JournalError
from fraud.storage.state import OnlineState
from serve_app import clock, records
from serve_app.access_log import AccessLog
from serve_app.call import Call, Reply
from serve_app.catch_up import CatchUp
from serve_app.decider import Asked, Decided, Decider
from serve_app.errors import DifferentBodyError, NotReadyError, RequestError, error_body
from serve_app.intake import Intake
from serve_app.pace import Pace
from serve_app.review_budget import ReviewBudget
from serve_app.served import Served, Watcher
from serve_app.settings import ServeSettings
from serve_app.shadow import Shadow
from serve_app.telemetry import Telemetry

_UNREACHABLE: Final = (StateBusyError, DiskFullError)
"""What keeps the state from being written, for a while."""
LATE: Final = "late"
"""Why a decision is degraded whose transaction is older than what the state answers exactly."""


class _Stored(msgspec.Struct):
    """The part of a journal record that leaves."""

    answer: msgspec.Raw


@dataclass(frozen=True)
class Parts:
    """What a scorer works with besides model, state and journal.

    Attributes:
        budget: Of reviews, shared by the replicas of the node.
        catch_up: Brings what the state missed into it.
        shadow: Scores with the challenger, after the answer.
        telemetry: Counts.
        access_log: Gets a line for what had no score.
        rates: Into the base currency.
        wording: How reasons are told.
        settings: For the limits.
        code_version: Of this release, for the records.
    """

    budget: ReviewBudget
    catch_up: CatchUp
    shadow: Shadow
    telemetry: Telemetry
    access_log: AccessLog
    rates: Rates
    wording: Wording
    settings: ServeSettings
    code_version: str


@dataclass(frozen=True)
class _Ready:
    """What one model and policy need, made once."""

    served: Served
    intake: Intake
    decider: Decider


class Scorer:
    """One replica's work, without HTTP."""

    def __init__(self, watcher: Watcher, state: OnlineState, journal: Journal, parts: Parts) -> None:
        """Score by what the watcher holds.

        Args:
            watcher: Holds the model that serves.
            state: The node's online state.
            journal: This process's way into the journal.
            parts: What else there is.
        """
        self._watcher = watcher
        self._state = state
        self._journal = journal
        self._parts = parts
        self._telemetry = parts.telemetry
        self._pace = Pace()
        self._ready = self._make_ready()
        self.refresh()

    def refresh(self) -> None:
        """Ask the state since when it answers exactly, which its followers change: once a second."""
        self._exact_since_us = self._state.exact_since_us()

    async def score(self, call: Call) -> Reply:
        """Decide one transaction; the answer is on disk.

        Raises:
            RequestError: One of its subclasses, see ``serve_app.errors``.
        """
        await self._pace.turn()
        begun, ready = time.perf_counter(), self._now()
        asked = ready.intake.to_score(call.body, call.caller)
        self._telemetry.stage("read", time.perf_counter() - begun)
        (answer,) = await self._answers([asked], call, ready)
        if isinstance(answer, RequestError):
            raise answer
        self._telemetry.stage("total", time.perf_counter() - begun)
        return Reply(answer)

    async def score_batch(self, call: Call) -> Reply:
        """Decide up to ``serve.max_batch_rows`` transactions at once; each is answered or refused by itself.

        Raises:
            RequestError: The batch cannot be read as a whole.
        """
        await self._pace.turn()
        ready = self._now()
        read = ready.intake.to_score_several(call.body, call.caller)
        answers = iter(await self._answers([row for row in read if isinstance(row, Asked)], call, ready))
        outcomes = [next(answers) if isinstance(row, Asked) else row for row in read]
        return Reply(b'{"answers":[%b]}' % b",".join(_outcome(each) for each in outcomes))

    async def event(self, call: Call) -> Reply:
        """Record a transaction that is not to be scored; it is on disk.

        Raises:
            RequestError: One of its subclasses, see ``serve_app.errors``.
        """
        asked = self._now().intake.to_record(call.body, call.caller)
        try:
            async with self._state.turn(call.deadline):
                is_new = self._state.record(asked.transaction, asked.digest)
        except ConflictError:
            raise _different_body() from None
        except _UNREACHABLE as error:
            raise _not_durable() from error
        await self._write(records.event(asked))
        return _accepted(asked.transaction.transaction_id, known=not is_new)

    async def label(self, call: Call) -> Reply:
        """Record what became known about a transaction; it is on disk.

        Raises:
            RequestError: One of its subclasses, see ``serve_app.errors``.
        """
        now = clock.now_us()
        said = self._now().intake.label(call.body, now)
        try:
            async with self._state.turn(call.deadline):
                known = self._state.label(said.transaction_id, said.label_time_us, said.source, said.is_fraud)
        except _UNREACHABLE as error:
            raise _not_durable() from error
        await self._write(records.label(said, known=known, received_at_us=now, caller=call.caller))
        return _accepted(said.transaction_id, known=known)

    async def _answers(self, asked: Sequence[Asked], call: Call, ready: _Ready) -> list[bytes | RequestError]:
        """The answers, on disk, or what keeps a transaction from having one."""
        begun, stage = time.perf_counter(), self._telemetry.stage
        features = ready.served.bundle.feature_set
        try:
            async with self._state.turn(call.deadline):
                found = self._state.observe_all(features, [(each.transaction, each.digest) for each in asked])
        except _UNREACHABLE as error:
            return await self._degraded(asked, call, ready, error.code)
        observed = time.perf_counter()
        fresh = {at: row for at, row in enumerate(found) if isinstance(row, np.ndarray)}
        own = self._decide([asked[at] for at in fresh], list(fresh.values()), ready)
        kept = await self._keep([asked[at] for at in fresh], own, call)
        stored = dict(zip(fresh, kept, strict=True)) | {
            at: record for at, record in enumerate(found) if isinstance(record, bytes)
        }
        decided = time.perf_counter()
        await self._write(*stored.values())
        stage("state", observed - begun)
        stage("decision", decided - observed)
        stage("journal", time.perf_counter() - decided)
        answers = {at: _answer(record) for at, record in stored.items() if at not in fresh}
        for (at, row), mine, record in zip(fresh.items(), own, kept, strict=True):
            is_first = record is mine.record  # else another replica was
            answers[at] = mine.answer if is_first else _answer(record)
            if is_first:
                self._tell(asked[at], row, mine, ready)
        late = sum(mine.degraded is not None for mine in own)
        if late:
            self._parts.access_log.degraded(
                call.request_id, caller=call.caller, cause=LATE, transactions=late
            )
        return [answers[at] if at in answers else _different_body() for at in range(len(asked))]

    def _decide(self, asked: Sequence[Asked], features: Sequence[Floats], ready: _Ready) -> list[Decided]:
        if not asked:
            return []
        return [
            self._fall_back(each, ready, LATE)
            if each.transaction.event_time_us < self._exact_since_us
            else own
            for each, own in zip(asked, ready.decider.decide(asked, features), strict=True)
        ]

    async def _keep(self, asked: Sequence[Asked], own: Sequence[Decided], call: Call) -> list[bytes]:
        """Store decisions; return the records that are stored, those of whoever was first."""
        if not asked:
            return []
        try:
            async with self._state.turn(call.deadline):
                return self._state.keep(
                    [(each.transaction, mine.record) for each, mine in zip(asked, own, strict=True)]
                )
        except _UNREACHABLE as error:
            # Answered now, it could be answered otherwise by the replica that keeps its own first.
            raise _not_durable() from error

    async def _degraded(
        self, asked: Sequence[Asked], call: Call, ready: _Ready, cause: str
    ) -> list[bytes | RequestError]:
        """Decide without writing to the state; what it holds already, or waits for it, is the answer."""
        known = [self._known(each) for each in asked]
        fresh = [each for each, record in zip(asked, known, strict=True) if record is None]
        own = [self._fall_back(each, ready, cause) for each in fresh]
        made = iter(own)
        stored = [next(made).record if record is None else record for record in known]
        await self._write(*stored)
        self._parts.catch_up.add(fresh, own)
        for mine in own:
            self._telemetry.decided(mine.decision, degraded=cause)
        self._parts.access_log.degraded(
            call.request_id, caller=call.caller, cause=cause, transactions=len(own)
        )
        return [
            _answer(record) if each.request in record else _different_body()
            for each, record in zip(asked, stored, strict=True)
        ]

    def _known(self, asked: Asked) -> bytes | None:
        transaction_id = asked.transaction.transaction_id
        return self._parts.catch_up.record(transaction_id) or self._state.answer(transaction_id)

    def _fall_back(self, asked: Asked, ready: _Ready, cause: str) -> Decided:
        policy, budget = ready.served.policy, self._parts.budget
        decision = policy.fall_back(
            asked.transaction.amount_base_minor, lambda: budget.take(policy.reviews_per_day)
        )
        return ready.decider.fall_back(asked, decision, cause)

    def _tell(self, asked: Asked, features: Floats, own: Decided, ready: _Ready) -> None:
        """Count a decision, and let the challenger have a look."""
        self._telemetry.decided(own.decision, degraded=own.degraded)
        self._telemetry.unread(ready.intake.unread(asked))
        if own.degraded is None:
            if own.decision == REVIEW:
                self._parts.budget.count()
            self._parts.shadow.offer(ready.served, asked.transaction, features, own.decision)

    def _now(self) -> _Ready:
        if self._ready.served is not self._watcher.served:
            self._ready = self._make_ready()
        return self._ready

    def _make_ready(self) -> _Ready:
        served, parts = self._watcher.served, self._parts
        return _Ready(
            served,
            Intake(served.bundle.feature_set, parts.rates, parts.settings),
            Decider(served, parts.wording, parts.code_version),
        )

    async def _write(self, *written: bytes) -> None:
        try:
            await self._journal.write(*written)
        except JournalError as error:
            raise _not_durable() from error


def _different_body() -> DifferentBodyError:
    return DifferentBodyError("this transaction_id came before, with another body", "transaction_id")


def _not_durable() -> NotReadyError:
    return NotReadyError("the answer could not be made durable: send the same request again")


def _outcome(each: bytes | RequestError) -> bytes:
    return error_body(each.code, str(each), each.field) if isinstance(each, RequestError) else each


def _answer(record: bytes) -> bytes:
    return bytes(msgspec.json.decode(record, type=_Stored).answer)


def _accepted(transaction_id: str, *, known: bool) -> Reply:
    body = {"transaction_id": transaction_id, "accepted": True, "known": known}
    return Reply(orjson.dumps(body), HTTPStatus.ACCEPTED)
