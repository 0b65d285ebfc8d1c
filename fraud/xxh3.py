"""The 64-bit hash of many texts at once: XXH3 with seed 0, as the library computes it for one.

A column of ids is hashed where it lies in memory; making a Python text of each would take ten times as long.
Longer texts than ids are go to the library.

Source: the algorithm's description in the xxHash project, for inputs of 1 to 64 bytes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import xxhash
from numba import njit
from numpy.typing import NDArray

_LONGEST: Final = 64
"""Bytes."""

_SECRET: Final = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
        "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    ),
    np.uint64,
)
_PRIME_1, _PRIME_2 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3 = np.uint64(0x165667B19E3779F9)
_MIX_1, _MIX_2 = np.uint64(0x165667919E3779F9), np.uint64(0x9FB21C651E98DF25)
_LOW: Final = np.uint64(0xFFFFFFFF)
_OF_NOTHING: Final = np.uint64(xxhash.xxh3_64_intdigest(b""))


def hashes(texts: pa.Array | pa.ChunkedArray, *, null: int) -> NDArray[np.int64]:
    """Return the signed hash of every text's UTF-8 bytes, shape ``(n,)``.

    Args:
        texts: Of a type that can be cast to string.
        null: What a missing text gives.
    """
    texts = texts.cast(pa.string())
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    return np.concatenate([np.empty(0, np.int64), *(_hashed(chunk, null) for chunk in chunks)])


def _hashed(texts: pa.Array, null: int) -> NDArray[np.int64]:
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.uint32)[texts.offset : texts.offset + len(texts) + 1]
    raw = np.frombuffer(data or b"", np.uint8)
    found = np.empty(len(texts), np.uint64)
    for place in np.flatnonzero(_hash_short(bounds, raw, found)).tolist():
        found[place] = xxhash.xxh3_64_intdigest(raw[bounds[place] : bounds[place + 1]].tobytes())
    signed = found.view(np.int64)
    if texts.null_count:
        signed[np.asarray(texts.is_null())] = null
    return signed


@njit(nogil=True, cache=True)
def _hash_short(bounds: Any, raw: Any, found: Any) -> Any:  # pragma: no cover
    """Hash the short texts; tell which ones are long. A missing one is empty."""
    long = np.zeros(len(found), np.bool_)
    for place in range(len(found)):
        begin = np.uint64(bounds[place])
        size = np.uint64(bounds[place + 1]) - begin
        if size == 0:
            found[place] = _OF_NOTHING
        elif size > _LONGEST:
            long[place] = True
        elif size > 16:
            found[place] = _of_17_to_64(raw, begin, size)
        elif size > 8:
            found[place] = _of_9_to_16(raw, begin, size)
        elif size > 3:
            found[place] = _of_4_to_8(raw, begin, size)
        else:
            found[place] = _of_1_to_3(raw, begin, size)
    return long


@njit(nogil=True, cache=True)
def _of_1_to_3(raw: Any, begin: Any, size: Any) -> Any:  # pragma: no cover
    first, last = np.uint64(raw[begin]), np.uint64(raw[begin + size - np.uint64(1)])
    middle = np.uint64(raw[begin + (size >> np.uint64(1))])
    h = first << np.uint64(16) | middle << np.uint64(24) | last | size << np.uint64(8)
    h ^= (_SECRET[0] ^ _SECRET[0] >> np.uint64(32)) & _LOW
    h ^= h >> np.uint64(33)
    h *= _PRIME_2
    h ^= h >> np.uint64(29)
    h *= _PRIME_3
    return h ^ h >> np.uint64(32)


@njit(nogil=True, cache=True)
def _of_4_to_8(raw: Any, begin: Any, size: Any) -> Any:  # pragma: no cover
    h = _half(raw, begin + size - np.uint64(4)) + (_half(raw, begin) << np.uint64(32))
    h ^= _SECRET[1] ^ _SECRET[2]
    h ^= (h << np.uint64(49) | h >> np.uint64(15)) ^ (h << np.uint64(24) | h >> np.uint64(40))
    h *= _MIX_2
    h ^= (h >> np.uint64(35)) + size
    h *= _MIX_2
    return h ^ h >> np.uint64(28)


@njit(nogil=True, cache=True)
def _of_9_to_16(raw: Any, begin: Any, size: Any) -> Any:  # pragma: no cover
    low = _word(raw, begin) ^ (_SECRET[3] ^ _SECRET[4])
    high = _word(raw, begin + size - np.uint64(8)) ^ (_SECRET[5] ^ _SECRET[6])
    swapped = np.uint64(0)
    for byte in range(8):
        swapped |= (low >> np.uint64(8 * byte) & np.uint64(255)) << np.uint64(56 - 8 * byte)
    return _avalanche(size + swapped + high + _folded(low, high))


@njit(nogil=True, cache=True)
def _of_17_to_64(raw: Any, begin: Any, size: Any) -> Any:  # pragma: no cover
    h = size * _PRIME_1
    last = begin + size - np.uint64(16)
    h += _mixed(raw, begin, 0) + _mixed(raw, last, 2)
    if size > 32:
        h += _mixed(raw, begin + np.uint64(16), 4) + _mixed(raw, last - np.uint64(16), 6)
    return _avalanche(h)


@njit(nogil=True, cache=True)
def _mixed(raw: Any, place: Any, secret: Any) -> Any:  # pragma: no cover
    low = _word(raw, place) ^ _SECRET[secret]
    return _folded(low, _word(raw, place + np.uint64(8)) ^ _SECRET[secret + 1])


@njit(nogil=True, cache=True)
def _folded(one: Any, other: Any) -> Any:  # pragma: no cover
    """The halves of the 128-bit product, one upon the other."""
    half = np.uint64(32)
    low = (one & _LOW) * (other & _LOW)
    middle = (one >> half) * (other & _LOW) + (low >> half)
    carry = (one & _LOW) * (other >> half) + (middle & _LOW)
    high = (one >> half) * (other >> half) + (middle >> half) + (carry >> half)
    return high ^ (carry << half | low & _LOW)


@njit(nogil=True, cache=True)
def _avalanche(h: Any) -> Any:  # pragma: no cover
    h ^= h >> np.uint64(37)
    h *= _MIX_1
    return h ^ h >> np.uint64(32)


@njit(nogil=True, cache=True)
def _half(raw: Any, place: Any) -> Any:  # pragma: no cover
    """Four bytes, the least first; an unsigned place needs no look at negative ones."""
    half = np.uint64(raw[place])
    half |= np.uint64(raw[place + np.uint64(1)]) << np.uint64(8)
    half |= np.uint64(raw[place + np.uint64(2)]) << np.uint64(16)
    return half | np.uint64(raw[place + np.uint64(3)]) << np.uint64(24)


@njit(nogil=True, cache=True)
def _word(raw: Any, place: Any) -> Any:  # pragma: no cover
    """Eight bytes, the least first."""
    return _half(raw, place) | _half(raw, place + np.uint64(4)) << np.uint64(32)
