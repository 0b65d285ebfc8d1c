"""A decision executed again: from its row alone, and the bundle that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from fraud.model import policy as policies
from fraud.model.bundle import Bundle
from fraud.model.policy import APPROVE, Policy


def differences(row: Mapping[str, Any], bundle: Bundle) -> dict[str, tuple[Any, Any]]:
    """Execute a decision again: features to score, probability, decision and reasons, bit for bit.

    Args:
        row: Of ``decisions``.
        bundle: Of the digest ``model_digest``.

    Returns:
        What comes out otherwise, by column: (then, now); by ``answer.`` and column what left with the answer
        and is not what the row says. Empty where all is the same.

    Raises:
        FormatVersionError: The policy is of another release.
        BundleError: The policy cannot be read.
    """
    policy = policies.from_json(json.loads(row["policy"]), path="the decision")
    now: dict[str, Any] = {
        "model_digest": bundle.digest,
        "features_version": bundle.feature_set.version,
        "policy_digest": policy.digest,
        "policy_version": policy.version,
        **(_fallen_back(row, policy) if row["features"] is None else _decided(row, bundle, policy)),
    }
    answered = {
        f"answer.{name}": (value, row[name]) for name, value in _said(json.loads(row["answer"])).items()
    }
    again = {name: (row[name], value) for name, value in now.items()}
    return {name: (then, value) for name, (then, value) in (again | answered).items() if then != value}


def _decided(row: Mapping[str, Any], bundle: Bundle, policy: Policy) -> dict[str, Any]:
    features = np.array(row["features"], np.float64).astype(np.float32).reshape(1, -1)
    scores = bundle.scores(features)
    probabilities = bundle.probabilities(scores)
    (decision,) = policy.decide(probabilities, np.array([row["amount_base_minor"]], np.int64))
    causes = bundle.explainer.causes(features, most=policy.max_reasons)[0] if decision != APPROVE else ()
    names, measures = bundle.feature_set.names, bundle.feature_set.measures
    return {
        "score": float(scores[0]),
        "probability": float(probabilities[0]),
        "decision": decision,
        "reasons": [measures[names[cause.feature]].code for cause in causes],
    }


def _fallen_back(row: Mapping[str, Any], policy: Policy) -> dict[str, Any]:
    """Without features the amount decides; whether there was a review left is in no row."""
    amount = row["amount_base_minor"]
    possible = [policy.fall_back(amount, partial(bool, is_left)) for is_left in (True, False)]
    decision = row["decision"] if row["decision"] in possible else possible[0]
    return {"score": None, "probability": None, "decision": decision, "reasons": []}


def _said(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer says of the row's columns."""
    same = ("transaction_id", "score", "probability", "decision", "policy_version", "features_version")
    return {
        **{name: answer[name] for name in same},
        **{f"model_{name}": answer["model"][name] for name in ("name", "version", "digest")},
        "reasons": [reason["code"] for reason in answer["reasons"]],
    }
