"""Three ways to commit fraud: a large amount, a compromised terminal, a card used by a stranger.

Source: Le Borgne et al., Reproducible Machine Learning for Credit Card Fraud Detection (2022), chapter 3.
No scenario starts on the last simulated day, as in the published data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fraud.simulate.parameters import DAY_S
from fraud.simulate.seeding import Purpose, numpy_stream, python_stream
from fraud.simulate.stream import Rows

SCENARIOS: Final = (1, 2, 3)
LARGE_AMOUNT_CENTS: Final = 22_000
TERMINALS_A_DAY: Final = 2
TERMINAL_DAYS: Final = 28
CUSTOMERS_A_DAY: Final = 3
CUSTOMER_DAYS: Final = 14
SHARE_OF_STOLEN: Final = 3
"""One in three transactions of a compromised customer is the stranger's."""

STOLEN_FACTOR: Final = 5


@dataclass(frozen=True, slots=True)
class Stolen:
    """The rows of scenario 3: their keys, ascending, and how many times each was drawn."""

    key: NDArray[np.int64]
    times: NDArray[np.int64]

    def times_of(self, rows: Rows) -> NDArray[np.int64]:
        """How many times each of these rows was drawn, mostly 0; shape (n,)."""
        if not len(self.key):
            return np.zeros(len(rows), np.int64)
        key = rows.key()
        place = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where(self.key[place] == key, self.times[place], 0)


@dataclass(frozen=True, slots=True)
class Labels:
    """What the scenarios make of n rows.

    ``cents`` are the final amounts and ``scenario`` the last one a row fell to (0: genuine), both of shape
    (n,); ``newly`` counts the rows each scenario was the first to make fraudulent.
    """

    cents: NDArray[np.int64]
    scenario: NDArray[np.int8]
    newly: tuple[int, int, int]

    def is_fraud(self) -> NDArray[np.int8]:
        """1 for a row that fell to a scenario, 0 for a genuine one; shape (n,)."""
        return (self.scenario > 0).astype(np.int8)


def compromised_terminals(terminals: int, *, days: int, seed: int) -> NDArray[np.bool_]:
    """Whether a terminal is compromised on a day: shape (terminals, days)."""
    compromised = np.zeros((terminals, days), np.bool_)
    for day in range(days - 1):
        rng = numpy_stream(Purpose.COMPROMISED_TERMINALS, day, seed)
        chosen = rng.choice(terminals, min(TERMINALS_A_DAY, terminals), replace=False)
        compromised[chosen, day : day + TERMINAL_DAYS] = True
    return compromised


def compromised_customers(customers: int, *, days: int, seed: int) -> NDArray[np.int32]:
    """The customers whose card a stranger starts to use on each day but the last: shape (days - 1, 3)."""
    several = min(CUSTOMERS_A_DAY, customers)
    chosen = np.empty((days - 1, several), np.int32)
    for day in range(days - 1):
        rng = numpy_stream(Purpose.COMPROMISED_CUSTOMERS, day, seed)
        chosen[day] = rng.choice(customers, several, replace=False)
    return chosen


def stolen(rows: Rows, compromised: NDArray[np.int32], *, seed: int) -> Stolen:
    """Draw the transactions that are a stranger's.

    Args:
        rows: At least all rows of the compromised customers, in any order.
        compromised: From ``compromised_customers``.
        seed: Of the simulation.
    """
    rows = rows.in_table_order()
    day_of, keys = rows.second // DAY_S, rows.key()
    by_customer = np.argsort(rows.customer, kind="stable")
    edges = np.searchsorted(rows.customer[by_customer], np.stack([compromised, compromised + 1], axis=-1))
    drawn = [np.empty(0, np.int64)]
    for day, ranges in enumerate(edges):
        own = np.concatenate([by_customer[low:high] for low, high in ranges])
        window = np.sort(own[(day_of[own] >= day) & (day_of[own] < day + CUSTOMER_DAYS)])
        # The positions ``random.sample`` draws depend on nothing but the list's length.
        sample = python_stream(Purpose.COMPROMISED_CUSTOMERS, day, seed).sample
        drawn.append(keys[window[sample(range(len(window)), len(window) // SHARE_OF_STOLEN)]])
    return Stolen(*np.unique(np.concatenate(drawn), return_counts=True))


def label(rows: Rows, terminals: NDArray[np.bool_], thefts: Stolen) -> Labels:
    """Apply the scenarios in their order: a later one overwrites the scenario, and scenario 3 the amount.

    Args:
        rows: n rows, in any order.
        terminals: From ``compromised_terminals``.
        thefts: From ``stolen``.
    """
    large = rows.cents > LARGE_AMOUNT_CENTS
    at_compromised = terminals[rows.terminal, rows.second // DAY_S]
    times = thefts.times_of(rows)
    is_stolen = times > 0
    scenario = np.select([is_stolen, at_compromised, large], [3, 2, 1], 0).astype(np.int8)
    newly = (large, at_compromised & ~large, is_stolen & ~at_compromised & ~large)
    first, second, third = (int(np.count_nonzero(rows_of)) for rows_of in newly)
    # A transaction drawn on several days is multiplied each time: up to 5^14 where there are three customers.
    cents = rows.cents * STOLEN_FACTOR**times
    return Labels(cents, scenario, (first, second, third))
