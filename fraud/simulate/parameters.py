"""What a simulation is asked for, and the files its days go to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from fraud.errors import ConfigError
from fraud.simulate.seeding import LARGEST_SEED

PROFILES: Final = ("handbook",)
START: Final = datetime(2018, 4, 1, tzinfo=UTC)
"""Midnight of the first simulated day, as in the published data."""

DAY_S: Final = 86_400
DAYS_PER_FILE: Final = 7
_LARGEST_COUNT: Final = 2**31 - 1
_MOST_DAYS: Final = _LARGEST_COUNT // DAY_S
"""Seconds since the start are 32-bit integers."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Everything the rows depend on: equal parameters give equal rows, whatever the parallelism.

    Raises:
        ConfigError: A value is out of its bounds.
    """

    profile: str = "handbook"
    customers: int = 5_000
    terminals: int = 10_000
    days: int = 183
    seed: int = 0

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ConfigError(
                "profile", f"there is no profile {self.profile!r}; choose one of {', '.join(PROFILES)}"
            )
        _check("customers", self.customers, 1, _LARGEST_COUNT)
        _check("terminals", self.terminals, 1, _LARGEST_COUNT)
        _check("days", self.days, 1, _MOST_DAYS)
        _check("seed", self.seed, 0, LARGEST_SEED)


def _check(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigError(name, f"must be a whole number from {least} to {most}, not {value}")


def file_count(days: int) -> int:
    """How many files hold so many days; the last may hold fewer than a week."""
    return -(-days // DAYS_PER_FILE)


def file_name(index: int) -> str:
    """The name of a file: the first day it holds."""
    first = START + timedelta(days=index * DAYS_PER_FILE)
    return f"transactions-{first.date().isoformat()}.parquet"
