"""Requests to score, by number: the same seed, start and number are the same bytes, in every process."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_MASK: Final = (1 << 64) - 1
_TEMPLATE: Final = (
    b'{"transaction_id":"%b","event_time":"%b.%06dZ","amount_minor":%d,"currency":"EUR",'
    b'"card_id":"c%d","terminal_id":"t%d","attributes":{"channel":"%b","distance_km":%d.%02d}}'
)
_TERMINALS: Final = 10_000


class Transactions:
    """Random transactions of many cards."""

    def __init__(self, seed: int, *, keys: int, start_us: int, step_us: float, batch: int = 0) -> None:
        """Prepare.

        Args:
            seed: Another seed makes other transactions of other ids.
            keys: How many cards there are.
            start_us: When the first happens, microseconds since 1970.
            step_us: From one to the next.
            batch: So many in a body, as ``/v1/score/batch`` takes them; 0: one, as ``/v1/score`` does.
        """
        self._seed = int.from_bytes(hashlib.sha256(b"%d" % seed).digest()[:8])
        # Letters between the digits: a start whose digits are all decimal could be a card number.
        self._name = f"load-{seed}-{start_us.to_bytes(8).hex('x')}-n"
        self._keys, self._start_us, self._step_us, self._batch = keys, start_us, step_us, batch

    def __call__(self, number: int) -> tuple[str, bytes]:
        """Return the id and the body of a request; those of a batch are the first's id and all of them."""
        if not self._batch:
            return self._one(number)
        first = number * self._batch
        bodies = [self._one(first + at) for at in range(self._batch)]
        return bodies[0][0], b'{"transactions":[%b]}' % b",".join(body for _, body in bodies)

    def _one(self, number: int) -> tuple[str, bytes]:
        bits = _mixed(self._seed + number)
        more = _mixed(bits)
        at = self._start_us + int(number * self._step_us)
        second, microsecond = divmod(at, 1_000_000)
        identifier = f"{self._name}{number}"
        return identifier, _TEMPLATE % (
            identifier.encode(),
            _second(second),
            microsecond,
            50 + bits % 20_000,
            (bits >> 16) % self._keys,
            more % _TERMINALS,
            b"web" if more >> 40 & 1 else b"shop",
            (more >> 20) % 100,
            (more >> 30) % 100,
        )


@lru_cache(maxsize=4)
def _second(second: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


def _mixed(value: int) -> int:
    """SplitMix64: one number to 64 bits that look random."""
    value = (value * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _MASK
    return value ^ value >> 31
