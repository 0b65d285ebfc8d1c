"""From a request to a durable answer.

The state stores, under the transaction's id, the decision's whole journal record; the answer is a part of it.
Whoever asks again gets that part of the stored record, and the record is journalled again before it does:
so no answer leaves that the journal lacks, even where the first process died between storing and journalling.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from fraud.errors import ConflictError
from fraud.features.online import OnlineTransaction
from fraud.features.spec import FeatureSet
from fraud.model.bundle import Bundle
from fraud.model.policy import APPROVE
from fraud.model.reason_catalogue import Catalogue
from fraud.model.reason_texts import Wording
from fraud.model.reasons import Cause
from fraud.money import Rates, UnknownRate, to_base_minor
from fraud.storage.journal import Journal, JournalError
from fraud.storage.state import Answer
from serve_app import canonical, fields
from serve_app.canonical import LabelRequest, ScoreRequest
from serve_app.errors import DifferentBodyError, NoRateError, NotReadyError
from serve_app.served import Served, Watcher
from serve_app.settings import ServeSettings

Decide = Callable[[NDArray[np.float64]], bytes]


class State(Protocol):
    """What the scorer needs of ``fraud.storage.state.OnlineState``."""

    def score(
        self, feature_set: FeatureSet, transaction: OnlineTransaction, digest: bytes, decide: Decide
    ) -> Answer:
        """Record it and store what ``decide`` makes of its features, or return what is stored."""

    def label(self, transaction_id: str, label_time_us: int, source: str, is_fraud: bool) -> bool:
        """Record a label; False where the transaction is not known."""

    def known_as_of(self) -> datetime:
        """Up to when the lake's facts were brought in."""


class _Stored(msgspec.Struct):
    """The part of a journal record that leaves."""

    answer: msgspec.Raw


class Scorer:
    """One replica's work, without HTTP."""

    def __init__(
        self,
        watcher: Watcher,
        state: State,
        journal: Journal,
        *,
        rates: Rates,
        catalogue: Catalogue,
        settings: ServeSettings,
    ) -> None:
        self._watcher = watcher
        self._state = state
        self._journal = journal
        self._rates = rates
        self._wording = Wording(rates.base, catalogue)
        self._entities = settings.entities
        self._max_future_us = round(settings.max_future_s * 1_000_000)

    @property
    def served(self) -> Served:
        """The model that serves now."""
        return self._watcher.served

    async def score(self, body: bytes) -> bytes:
        """Decide one transaction and return the answer once it is on disk.

        Raises:
            RequestError: One of its subclasses, see ``serve_app.errors``.
        """
        started, served = time.perf_counter_ns(), self.served
        request = canonical.score_request(
            body,
            feature_set=served.bundle.feature_set,
            entities=dict.fromkeys((*self._entities, *served.bundle.feature_set.entities)),
            latest_us=_now_us() + self._max_future_us,
        )
        text = request.canonical()

        transaction = self._online(request)

        def decide(features: NDArray[np.float64]) -> bytes:
            return decision_record(served, self._wording, transaction, text, features, started=started)

        try:
            stored = self._state.score(served.bundle.feature_set, transaction, canonical.digest(text), decide)
        except ConflictError:
            raise DifferentBodyError(
                "this transaction_id was answered before, for another body", "transaction_id"
            ) from None
        await self._write(stored.body)
        return bytes(msgspec.json.decode(stored.body, type=_Stored).answer)

    async def label(self, body: bytes) -> bytes:
        """Record one label and return the answer once it is on disk.

        Raises:
            RequestError: One of its subclasses, see ``serve_app.errors``.
        """
        now = _now_us()
        request = canonical.label_request(body, now_us=now, latest_us=now + self._max_future_us)
        known = self._state.label(
            request.transaction_id, request.label_time_us, request.source, request.is_fraud
        )
        await self._write(label_record(request, known=known, received_at_us=now))
        return orjson.dumps({"transaction_id": request.transaction_id, "accepted": True, "known": known})

    def probe(self) -> None:
        """Score a row of missing values; raises what scoring would."""
        bundle = self.served.bundle
        bundle.scores(np.full((1, len(bundle.feature_set.names)), np.nan, np.float32))

    def readiness(self) -> dict[str, Any]:
        """What a load balancer or a person asks first: it is answered, so model and state are there."""
        return {
            "status": "ready",
            "model": _model(self.served),
            "features_version": self.served.bundle.feature_set.version,
            "state_as_of": self._state.known_as_of().isoformat(),
        }

    def models(self) -> dict[str, Any]:
        """The model that serves, in public terms."""
        served = self.served
        return {
            "models": [
                {
                    **_model(served),
                    "role": "champion",
                    "policy_version": served.policy.version,
                    "policy_digest": served.policy.digest,
                    "features_version": served.bundle.feature_set.version,
                    "features": list(served.bundle.feature_set.names),
                }
            ]
        }

    def _online(self, request: ScoreRequest) -> OnlineTransaction:
        try:
            base = to_base_minor(request.amount_minor, request.currency, request.event_date, self._rates)
        except UnknownRate:
            raise NoRateError("there is no exchange rate for this currency on this day", "currency") from None
        return OnlineTransaction(
            transaction_id=request.transaction_id,
            event_time_us=request.event_time_us,
            kind=request.kind,
            amount_minor=request.amount_minor,
            currency=request.currency,
            amount_base_minor=base,
            entities=request.entities,
            attributes=request.attributes,
        )

    async def _write(self, record: bytes) -> None:
        try:
            await self._journal.write(record)
        except JournalError:
            raise NotReadyError("the answer could not be made durable: send the same request again") from None


def decision_record(
    served: Served,
    wording: Wording,
    transaction: OnlineTransaction,
    request: bytes,
    features: NDArray[np.float64],
    *,
    started: int,
) -> bytes:
    """Score, decide and return the journal record: everything to execute the decision again.

    Args:
        served: The model and policy to decide by.
        wording: How reasons are told.
        transaction: Of the request; its amount in the base currency is decided on.
        request: The canonical request.
        features: As computed for this transaction, in the model's order, shape ``(features,)``.
        started: ``time.perf_counter_ns()`` when the request arrived.
    """
    bundle, policy = served.bundle, served.policy
    row = np.ascontiguousarray(features, np.float32).reshape(1, -1)
    scores = bundle.scores(row)
    probability = bundle.probabilities(scores)
    (decision,) = policy.decide(probability, np.array([transaction.amount_base_minor], np.int64))
    asked = decision != APPROVE
    causes = bundle.explainer.causes(row, most=policy.max_reasons)[0] if asked else ()
    answer = {
        "transaction_id": transaction.transaction_id,
        "score": float(scores[0]),
        "probability": float(probability[0]),
        "decision": decision,
        "reasons": _told(bundle, wording, features, causes),
        "model": _model(served),
        "policy_version": policy.version,
        "features_version": bundle.feature_set.version,
        "decided_at": fields.time_text(_now_us()),
    }
    return orjson.dumps(
        {
            "record": "decision",
            "request": orjson.Fragment(request),
            "amount_base_minor": transaction.amount_base_minor,
            "features": features.tolist(),
            "answer": answer,
            "policy": policy.to_json(),
            "latency_us": (time.perf_counter_ns() - started) // 1000,
        }
    )


def _told(
    bundle: Bundle, wording: Wording, features: NDArray[np.float64], causes: Sequence[Cause]
) -> list[dict[str, str]]:
    names, measures = bundle.feature_set.names, bundle.feature_set.measures
    return [
        wording.told(measures[names[at]], float(features[at]), bundle.usual[at])
        for at in (cause.feature for cause in causes)
    ]


def label_record(request: LabelRequest, *, known: bool, received_at_us: int) -> bytes:
    """Return the journal record of a label."""
    return orjson.dumps(
        {
            "record": "label",
            "transaction_id": request.transaction_id,
            "is_fraud": request.is_fraud,
            "label_time": fields.time_text(request.label_time_us),
            "source": request.source,
            "fraud_type": request.fraud_type,
            "known": known,
            "received_at": fields.time_text(received_at_us),
        }
    )


def _model(served: Served) -> dict[str, str]:
    return {"name": served.model, "version": served.version, "digest": served.bundle.digest}


def _now_us() -> int:
    return time.time_ns() // 1000
