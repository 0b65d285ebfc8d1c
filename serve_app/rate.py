"""How often an API key may call: a token bucket each, in the memory of one replica."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Rate:
    """Lets each key through at a steady rate, and for a second's worth at once after a pause.

    Args:
        per_s: Calls a second for each key; 0 lets everything through.
    """

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._most = max(per_s, 1.0)
        self._buckets: dict[str, _Bucket] = {}

    def admits(self, key: str, now: float) -> bool:
        """Take a token of the key, and say whether there was one.

        Args:
            key: The id of an accepted key: there are few, so buckets are never thrown away.
            now: Seconds of ``time.monotonic``.
        """
        if not self._per_s:
            return True
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._most, now)
        bucket.tokens = min(self._most, bucket.tokens + (now - bucket.at) * self._per_s)
        bucket.at = now
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True
