"""What `fraud replay` counts as equal."""

from __future__ import annotations

from typing import Any

import pytest

from cluster import replay

ANSWER: dict[str, Any] = {
    "transaction_id": "a",
    "score": 0.9,
    "probability": 0.5,
    "decision": "review",
    "reasons": [
        {"code": "AMOUNT", "analyst": "amount: 190.00 EUR, usually 20.00 EUR", "customer": "Unusual amount"},
        {"code": "NIGHT", "analyst": "night: yes", "customer": "Payment at an unusual time of day"},
    ],
}
BATCH = {"score": 0.9, "probability": 0.5, "decision": "review", "reasons": ["AMOUNT", "NIGHT"]}


class Endpoint:
    def post(self, _path: str, _body: bytes) -> dict[str, Any]:
        return ANSWER


@pytest.mark.parametrize(
    ("batch", "equal"),
    [
        (BATCH, 1),
        (BATCH | {"score": 0.9000001}, 0),
        (BATCH | {"decision": "approve"}, 0),
        (BATCH | {"reasons": ["NIGHT", "AMOUNT"]}, 0),
        (BATCH | {"reasons": ["AMOUNT"]}, 0),
    ],
)
def test_equal_is_the_same_score_decision_and_codes_in_order(batch: dict[str, Any], equal: int) -> None:
    tally = replay._Tally()
    replay._post(Endpoint(), {"transaction_id": "a"}, batch, tally)
    assert (tally.posted, tally.equal, len(tally.different)) == (1, equal, 1 - equal)
