"""What decisions cost: money lost to fraud, the time of reviewers, good customers turned away.

Source: Correa Bahnsen et al. 2013 (a cost per transaction, savings against doing nothing) and Höppner et al.
2022 (a threshold per transaction that follows from its amount).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Costs:
    """The prices of right and wrong decisions, in minor units of the base currency.

    Attributes:
        review_cost_minor: Of one review. A review is taken to find the truth: a fraud is stopped, a genuine
            transaction goes through.
        loss_share: The part of an approved fraud's amount that is lost, 0 to 1.
        fraud_cost_minor: What an approved fraud costs besides, whatever its amount: a chargeback's fee, or
            what follows a test charge of a cent.
        friction_cost_minor: Of declining a genuine transaction.
    """

    review_cost_minor: int
    loss_share: float
    fraud_cost_minor: int
    friction_cost_minor: int

    def loss(self, amount: NDArray[np.int64]) -> Floats:
        """Return what is lost where a fraud of this amount is approved, shape ``(n,)``."""
        return np.asarray(self.loss_share * amount + self.fraud_cost_minor, np.float64)

    def approve(self, probability: Floats, amount: NDArray[np.int64]) -> Floats:
        """Return the expected cost of approving, shape ``(n,)``."""
        return probability * self.loss(amount)

    def decline(self, probability: Floats) -> Floats:
        """Return the expected cost of declining, shape ``(n,)``."""
        return (1.0 - probability) * self.friction_cost_minor
