"""What the service says when it is asked: about a decision, the models, the shape of a request, itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson

from fraud.errors import FraudError
from fraud.features.spec import FeatureSet
from fraud.model import bundle as bundles
from fraud.model.bundle import Bundle
from fraud.storage import journal as journals
from fraud.storage.state import OnlineState
from serve_app import clock, progress
from serve_app.errors import UnknownDecisionError
from serve_app.places import Places
from serve_app.served import Served, Watcher
from serve_app.settings import ServeSettings

Check = Callable[[], str | None]
"""Says what is wrong, None where nothing is."""


class Inquiries:
    """Answers about decisions of the last two days, and about what serves."""

    def __init__(
        self,
        watcher: Watcher,
        state: OnlineState,
        places: Places,
        settings: ServeSettings,
        checks: Mapping[str, Check],
    ) -> None:
        """Answer from what a replica holds.

        Args:
            watcher: Holds the models.
            state: Holds the stored decisions.
            places: Of bundles by digest and of the journal.
            settings: For what a request may have.
            checks: By name, what a ready replica passes.
        """
        self._watcher = watcher
        self._state = state
        self._places = places
        self._settings = settings
        self._checks = checks

    def decision(self, transaction_id: str) -> dict[str, Any]:
        """Return a decision as it was answered, and what it was taken from.

        Raises:
            UnknownDecisionError: There is none, or it is too old to be in the state.
        """
        record = self._record(transaction_id)
        return {
            "answer": record["answer"],
            "request": record["request"],
            "amount_base_minor": record["amount_base_minor"],
            "features": self._named(record),
            "policy": record["policy"],
            "degraded": record["degraded"],
            "caller": record["caller"],
        }

    def explanation(self, transaction_id: str) -> dict[str, Any]:
        """Return the reasons as answered, then what each feature added to the margin of the score.

        The contributions are those of the bundle that decided, from the features that it saw; null where the
        decision has no score, or its bundle is not on this node any more.

        Raises:
            UnknownDecisionError: There is none, or it is too old to be in the state.
        """
        record = self._record(transaction_id)
        answer = record["answer"]
        return {
            "transaction_id": transaction_id,
            "decision": answer["decision"],
            "reasons": answer["reasons"],
            "model": answer["model"],
            "contributions": self._contributions(record),
        }

    def models(self) -> dict[str, Any]:
        """The models at work, in public terms."""
        roles = {"champion": self._watcher.served, "challenger": self._watcher.challenger}
        return {"models": [_described(role, served) for role, served in roles.items() if served]}

    def schema(self) -> dict[str, Any]:
        """What a request may hold, and what of it the models read."""
        champion, challenger = self._watcher.served, self._watcher.challenger
        read = _attributes(champion.bundle.feature_set)
        coming = {} if challenger is None else _attributes(challenger.bundle.feature_set)
        entities = (*self._settings.entities, *champion.bundle.feature_set.entities)
        return {
            "entities": list(dict.fromkeys(entities)),
            "attributes": read,
            "attributes_of_challenger": {name: kind for name, kind in coming.items() if name not in read},
            "other_attributes": "kept and ignored",
            "features_version": champion.bundle.feature_set.version,
        }

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether requests should come here, and what there is: model, state, what is wrong."""
        problems = {name: said for name, check in self._checks.items() if (said := check()) is not None}
        served = self._watcher.served
        as_of = self._state.known_as_of()
        return not problems, {
            "status": "not_ready" if problems else "ready",
            "problems": problems,
            "model": _model(served),
            "features_version": served.bundle.feature_set.version,
            "policy_version": served.policy.version,
            "state_as_of": as_of.isoformat(),
            "state_age_s": round(clock.now_us() / 1e6 - as_of.timestamp(), 3),
            "building": progress.building(self._places.pointer),
            "replicas": sum(map(journals.is_open, journals.segments(self._places.journal))),
        }

    def _record(self, transaction_id: str) -> dict[str, Any]:
        stored = self._state.answer(transaction_id)
        if stored is None:
            raise UnknownDecisionError(
                "there is no decision of the last two days under this id; the table decisions has older ones"
            )
        record: dict[str, Any] = orjson.loads(stored)
        return record

    def _named(self, record: dict[str, Any]) -> dict[str, float | None] | None:
        bundle = self._bundle(record["answer"]["model"]["digest"])
        if record["features"] is None or bundle is None:
            return None
        return dict(zip(bundle.feature_set.names, record["features"], strict=True))

    def _contributions(self, record: dict[str, Any]) -> list[dict[str, Any]] | None:
        """The strongest first, whichever way it pulls."""
        bundle = self._bundle(record["answer"]["model"]["digest"])
        if record["features"] is None or bundle is None:
            return None
        values = np.array(record["features"], np.float64)
        (added,) = bundle.explainer.contributions(values.astype(np.float32).reshape(1, -1))
        measures = bundle.feature_set.measures
        listed = [
            {"feature": name, "value": value, "contribution": float(part), "code": measures[name].code}
            for name, value, part in zip(bundle.feature_set.names, record["features"], added, strict=True)
        ]
        return sorted(listed, key=lambda each: -abs(each["contribution"]))

    def _bundle(self, digest: str) -> Bundle | None:
        for served in (self._watcher.served, self._watcher.challenger):
            if served is not None and served.bundle.digest == digest:
                return served.bundle
        try:
            return bundles.load(self._places.bundles / digest, digest=digest)
        except FraudError:
            return None


def _described(role: str, served: Served) -> dict[str, Any]:
    features = served.bundle.feature_set
    return {
        **_model(served),
        "role": role,
        "policy_version": served.policy.version,
        "policy_digest": served.policy.digest,
        "features_version": features.version,
        "features": list(features.names),
    }


def _attributes(feature_set: FeatureSet) -> dict[str, str]:
    return dict.fromkeys(feature_set.numbers, "number") | dict.fromkeys(feature_set.texts, "text")


def _model(served: Served) -> dict[str, str]:
    return {"name": served.model, "version": served.version, "digest": served.bundle.digest}
