"""From features to decisions: score, probability, policy, reasons, and the records that say so.

A decision's record is everything needed to execute it again; the answer is a part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from fraud.features.facts import Floats
from fraud.features.online import OnlineTransaction
from fraud.model.policy import APPROVE
from fraud.model.reason_texts import Wording
from fraud.model.reasons import Cause
from serve_app import clock, fields
from serve_app.served import Served


@dataclass(frozen=True, slots=True)
class Asked:
    """A transaction to decide upon.

    Attributes:
        transaction: As the state takes it.
        request: The canonical request.
        digest: SHA-256 of it.
        caller: The id of the API key.
        started_us: When the request arrived, microseconds since 1970.
    """

    transaction: OnlineTransaction
    request: bytes
    digest: bytes
    caller: str
    started_us: int


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision.

    Attributes:
        decision: Approve, review or decline.
        degraded: Why there is no score, None where there is one.
        answer: What the caller gets.
        record: For the journal; holds the answer.
    """

    decision: str
    degraded: str | None
    answer: bytes
    record: bytes


class Decider:
    """One model and policy, with what does not change from decision to decision made ready.

    Attributes:
        served: The model and policy.
    """

    def __init__(self, served: Served, wording: Wording, code_version: str) -> None:
        self.served = served
        self._wording = wording
        features = served.bundle.feature_set
        self._model = orjson.Fragment(
            orjson.dumps({"name": served.model, "version": served.version, "digest": served.bundle.digest})
        )
        self._by: Final[dict[str, Any]] = {
            "model": self._model,
            "policy_version": served.policy.version,
            "features_version": features.version,
        }
        self._rest: Final[dict[str, Any]] = {
            "policy": orjson.Fragment(orjson.dumps(served.policy.to_json())),
            "policy_digest": served.policy.digest,
            "code_version": code_version,
        }

    def decide(self, asked: Sequence[Asked], features: Sequence[Floats]) -> list[Decided]:
        """Decide upon transactions by their features, each as if it were alone.

        Args:
            asked: The transactions.
            features: Of each, in the model's order, shape ``(features,)``.
        """
        bundle, policy = self.served.bundle, self.served.policy
        matrix = np.array(features, np.float32)
        scores = bundle.scores(matrix)
        probabilities = bundle.probabilities(scores)
        amounts = np.array([each.transaction.amount_base_minor for each in asked], np.int64)
        decisions = policy.decide(probabilities, amounts)
        causes = self._causes(matrix, decisions)
        columns = (asked, features, scores.tolist(), probabilities.tolist(), decisions, causes)
        return [
            self._written(
                each,
                row.tolist(),
                {
                    "score": score,
                    "probability": probability,
                    "decision": decision,
                    "reasons": self._told(row, found),
                },
                None,
            )
            for each, row, score, probability, decision, found in zip(*columns, strict=True)
        ]

    def fall_back(self, asked: Asked, decision: str, cause: str) -> Decided:
        """Return a decision that was taken without a score.

        Args:
            asked: The transaction.
            decision: The policy's for that case.
            cause: Why there is no score.
        """
        outcome = {"score": None, "probability": None, "decision": decision, "reasons": ()}
        return self._written(asked, None, outcome, cause)

    def _causes(self, matrix: NDArray[np.float32], decisions: Sequence[str]) -> list[tuple[Cause, ...]]:
        """Of reviews and declines only."""
        found: list[tuple[Cause, ...]] = [()] * len(decisions)
        flagged = [place for place, decision in enumerate(decisions) if decision != APPROVE]
        if flagged:
            explainer, most = self.served.bundle.explainer, self.served.policy.max_reasons
            for place, causes in zip(flagged, explainer.causes(matrix[flagged], most=most), strict=True):
                found[place] = causes
        return found

    def _written(
        self, asked: Asked, features: list[float] | None, outcome: dict[str, Any], degraded: str | None
    ) -> Decided:
        transaction, now_us = asked.transaction, clock.now_us()
        answer = orjson.dumps(
            {
                "transaction_id": transaction.transaction_id,
                **outcome,
                "degraded": degraded is not None,
                **self._by,
                "decided_at": fields.time_text(now_us),
            }
        )
        record = orjson.dumps(
            {
                "record": "decision",
                "request": orjson.Fragment(asked.request),
                "amount_base_minor": transaction.amount_base_minor,
                "features": features,
                "answer": orjson.Fragment(answer),
                **self._rest,
                "caller": asked.caller,
                "degraded": degraded,
                "latency_us": now_us - asked.started_us,
            }
        )
        return Decided(outcome["decision"], degraded, answer, record)

    def _told(self, features: Floats, causes: Sequence[Cause]) -> list[dict[str, str]]:
        bundle = self.served.bundle
        names, measures = bundle.feature_set.names, bundle.feature_set.measures
        return [
            self._wording.told(measures[names[at]], float(features[at]), bundle.usual[at])
            for at in (cause.feature for cause in causes)
        ]
