"""What a customer pays, when and where: the transactions before any fraud.

Source: Le Borgne et al., Reproducible Machine Learning for Credit Card Fraud Detection (2022), chapter 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fraud.simulate.parameters import DAY_S, DAYS_PER_FILE, file_count
from fraud.simulate.population import Customers, Terminals
from fraud.simulate.seeding import Purpose, numpy_stream, python_words

_NOON_S: Final = 43_200
_SPREAD_S: Final = 20_000


@dataclass(frozen=True, slots=True)
class Rows:
    """Transactions as columns of shape (n,), without labels.

    ``second`` counts from the start of the first day, ``number`` a customer's transactions in the order they
    were drawn. Table order is (second, customer, number).
    """

    second: NDArray[np.int32]
    customer: NDArray[np.int32]
    number: NDArray[np.int32]
    terminal: NDArray[np.int32]
    cents: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.second)

    def key(self) -> NDArray[np.int64]:
        """One integer per row that no other row of the simulation has."""
        return self.customer.astype(np.int64) << 32 | self.number

    def take(self, index: NDArray[np.intp]) -> Rows:
        """The rows at these positions, in this order."""
        return Rows(*(getattr(self, field.name)[index] for field in fields(self)))

    def in_table_order(self) -> Rows:
        """The same rows by time; rows of the same second by customer, then as drawn."""
        return self.take(np.lexsort((self.number, self.customer, self.second)))


def concat(pieces: Sequence[Rows]) -> Rows:
    """All rows of the pieces, one after the other; at least one piece."""
    return Rows(*(np.concatenate([getattr(piece, field.name) for piece in pieces]) for field in fields(Rows)))


def generate(customers: Customers, terminals: Terminals, *, days: int, seed: int) -> Rows:
    """Draw all transactions of some customers; every customer has streams of its own."""
    pieces = [_of_nobody()]
    for customer, (x, y, mean_amount, mean_count) in enumerate(customers.profile.tolist(), customers.first):
        available = terminals.reachable(x, y)
        if len(available):
            times, amounts = _times_and_amounts(customer, mean_amount, mean_count, days=days, seed=seed)
            places = available[_choices(customer, len(available), len(times), seed=seed)]
            pieces.append(_rows(customer, times, amounts, places))
    return concat(pieces)


def split_by_file(rows: Rows, *, days: int) -> list[Rows]:
    """The rows of each file of ``days`` simulated days, the order within a file kept."""
    file = (rows.second // (DAY_S * DAYS_PER_FILE)).astype(np.int16)
    order = np.argsort(file, kind="stable")
    edges = np.searchsorted(file[order], np.arange(1, file_count(days)))
    return [rows.take(index) for index in np.split(order, edges)]


def _times_and_amounts(
    customer: int, mean_amount: float, mean_count: float, *, days: int, seed: int
) -> tuple[list[int], list[float]]:
    """Draw one customer's seconds since the start and unrounded amounts.

    The draws cannot be vectorised: how many numbers one takes from the stream depends on their values.
    ``mean + deviation * standard_normal()`` is how the legacy generator makes ``normal(mean, deviation)``,
    and half as costly.
    """
    rng = numpy_stream(Purpose.TRANSACTIONS, customer, seed)
    normal, poisson = rng.standard_normal, rng.poisson
    deviation = mean_amount / 2
    times: list[int] = []
    amounts: list[float] = []
    for midnight in range(0, days * DAY_S, DAY_S):
        for _ in range(poisson(mean_count)):
            time = int(_NOON_S + _SPREAD_S * normal())
            if 0 < time < DAY_S:
                amount = mean_amount + deviation * normal()
                if amount < 0:
                    amount = rng.uniform(0, mean_amount * 2)
                times.append(midnight + time)
                amounts.append(amount)
    return times, amounts


def _choices(customer: int, options: int, count: int, *, seed: int) -> NDArray[np.intp]:
    """What ``random.choice`` picks out of ``options`` things, ``count`` times, as indices of shape (count,).

    CPython takes the top bits of a 32-bit word, as many as ``options`` has, and draws again until the number
    is below ``options``: on average fewer than two words a choice.
    """
    words = python_words(Purpose.TRANSACTIONS, customer, seed)
    shift = np.uint32(32 - options.bit_length())
    found: NDArray[np.uint32] = np.empty(0, np.uint32)
    while len(found) < count:
        drawn = words.randint(0, 2**32, size=2 * count, dtype=np.uint32) >> shift
        found = np.concatenate([found, drawn[drawn < options]])
    return found[:count].astype(np.intp)


def _rows(customer: int, times: list[int], amounts: list[float], places: NDArray[np.int32]) -> Rows:
    return Rows(
        second=np.array(times, np.int32),
        customer=np.full(len(times), customer, np.int32),
        number=np.arange(len(times), dtype=np.int32),
        terminal=places,
        cents=np.rint(np.array(amounts) * 100).astype(np.int32),
    )


def _of_nobody() -> Rows:
    return Rows(*(np.empty(0, np.int32) for _ in fields(Rows)))
