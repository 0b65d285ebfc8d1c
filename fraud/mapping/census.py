"""What the expectations of a whole batch need to know of its rows, as counts that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True)
class Census:
    """Counts of some accepted rows; ``+`` gives those of both.

    Attributes:
        rows: How many.
        nulls: By column, how many have no value.
        newest_us: The latest event time, microseconds since 1970 UTC; None of no rows.
    """

    rows: int = 0
    nulls: Counter[str] = field(default_factory=Counter)
    newest_us: int | None = None

    def __add__(self, other: Census) -> Census:
        times = [each for each in (self.newest_us, other.newest_us) if each is not None]
        return Census(self.rows + other.rows, self.nulls + other.nulls, max(times, default=None))


def take_census(transactions: pa.Table, columns: Iterable[str]) -> Census:
    """Count transactions, and in each of these columns the rows without a value."""
    nulls = Counter({name: transactions.column(name).null_count for name in columns})
    newest = pc.max(transactions.column("event_time").cast(pa.int64())).as_py()
    return Census(transactions.num_rows, nulls, newest)
