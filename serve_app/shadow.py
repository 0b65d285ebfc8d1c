"""The challenger in the champion's shadow: it scores what was answered, afterwards, and decides nothing.

What it makes of a transaction is journalled. It takes a bounded share of the loop, a little at a time, and
where it cannot keep up it leaves transactions out: no answer waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import orjson

from fraud.errors import FraudError
from fraud.features.facts import Floats
from fraud.features.online import OnlineTransaction
from fraud.features.spec import FeatureSet
from fraud.storage.journal import JournalError
from serve_app import fields
from serve_app.served import Served

_WAITING: Final = 2_000
"""Transactions that may wait; more are left out."""
_AT_ONCE: Final = 16
"""Scored in one pass through the booster, before the loop gets its turn."""
_SHARE: Final = 0.2
"""Of the loop's time, at most."""
_PAUSE_S: Final = 0.02
"""Gathers transactions: a pass costs much, one more in it little."""

logger = logging.getLogger(__name__)


class Challengers(Protocol):
    """Where the challenger is."""

    @property
    def challenger(self) -> Served | None:
        """The model that scores in the shadow now."""


class State(Protocol):
    """Where features are computed again."""

    def peek(self, feature_set: FeatureSet, transaction: OnlineTransaction) -> Floats:
        """Return the features of a recorded transaction, shape ``(features,)``."""


class Writing(Protocol):
    """Where records go."""

    async def write(self, record: bytes) -> None:
        """Return when it is on disk."""


class Agreement(Protocol):
    """Who counts."""

    def shadowed(self, *, agrees: bool) -> None:
        """The challenger would have decided so, or otherwise."""


@dataclass(frozen=True, slots=True)
class _Answered:
    """A transaction with the champion's features and decision."""

    features_version: str
    transaction: OnlineTransaction
    features: Floats
    decision: str


class Shadow:
    """Scores offered transactions by the challenger while ``run`` runs.

    Attributes:
        dropped: How many were left out so far.
    """

    def __init__(
        self, models: Challengers, state: State, journal: Writing, agreement: Agreement | None = None
    ) -> None:
        self.dropped = 0
        self._models = models
        self._state = state
        self._journal = journal
        self._agreement = agreement
        self._waiting: deque[_Answered] = deque()

    def offer(self, served: Served, transaction: OnlineTransaction, features: Floats, decision: str) -> None:
        """Leave an answered transaction for the challenger; returns at once, and nothing can go wrong.

        Args:
            served: The champion that decided.
            transaction: Recorded in the state.
            features: The champion's, shape ``(features,)``.
            decision: As answered.
        """
        if self._models.challenger is None:
            return
        if len(self._waiting) >= _WAITING:
            self.dropped += 1
            return
        self._waiting.append(_Answered(served.bundle.feature_set.version, transaction, features, decision))

    @property
    def waiting(self) -> int:
        """How many wait to be scored."""
        return len(self._waiting)

    async def run(self) -> None:
        """Score what is offered, for ever."""
        while True:
            await asyncio.sleep(_PAUSE_S)
            while self._waiting:
                began = time.perf_counter()
                await self._next()
                await asyncio.sleep((time.perf_counter() - began) * (1 / _SHARE - 1))

    async def drain(self) -> None:
        """Score what is waiting now; for a replica that ends, and for tests."""
        while self._waiting:
            await self._next()

    async def _next(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
        challenger = self._models.challenger
        if challenger is None:
            return
        try:
            records = self._scored(challenger, batch)
            await asyncio.gather(*(self._journal.write(record) for record in records))
        except JournalError:
            self.dropped += len(batch)  # The champion's own records meet the same error, and tell it.
        except Exception:
            self.dropped += len(batch)
            logger.exception("the challenger could not score")

    def _scored(self, challenger: Served, batch: Sequence[_Answered]) -> list[bytes]:
        """Score, decide and return a record of each transaction that has the challenger's features."""
        own = [
            (each, features) for each in batch if (features := self._features(challenger, each)) is not None
        ]
        if not own:
            return []
        bundle, policy = challenger.bundle, challenger.policy
        scores = bundle.scores(np.array([features for _, features in own], np.float32))
        probabilities = bundle.probabilities(scores)
        amounts = np.array([each.transaction.amount_base_minor for each, _ in own], np.int64)
        decisions = policy.decide(probabilities, amounts)
        columns = ([each for each, _ in own], scores.tolist(), probabilities.tolist(), decisions)
        records = []
        for each, score, probability, decision in zip(*columns, strict=True):
            records.append(_record(challenger, each.transaction, score, probability, decision))
            if self._agreement is not None:
                self._agreement.shadowed(agrees=decision == each.decision)
        return records

    def _features(self, challenger: Served, answered: _Answered) -> Floats | None:
        """The features already computed, where they are the challenger's too; else those of the state."""
        wanted = challenger.bundle.feature_set
        if answered.features_version == wanted.version:
            return answered.features
        try:
            return self._state.peek(wanted, answered.transaction)
        except (FraudError, ValueError):
            # Forgotten meanwhile, or an attribute that only the challenger reads is of another type.
            self.dropped += 1
            return None


def _record(
    challenger: Served, transaction: OnlineTransaction, score: float, probability: float, decision: str
) -> bytes:
    bundle = challenger.bundle
    return orjson.dumps(
        {
            "record": "shadow",
            "transaction_id": transaction.transaction_id,
            "event_time": fields.time_text(transaction.event_time_us),
            "score": score,
            "probability": probability,
            "decision": decision,
            "model": {
                "name": challenger.model,
                "version": challenger.version,
                "digest": bundle.digest,
            },
            "policy_version": challenger.policy.version,
            "features_version": bundle.feature_set.version,
            "scored_at": fields.time_text(time.time_ns() // 1000),
        }
    )
